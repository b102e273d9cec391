/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a payload guest plugs in and unplugs: on pages of 4 KiB, and on the host's pool. */
#include <stdio.h>
#include <string.h>

#include "tests/e2e/guest_test.h"
#include "tests/lib/huge_pool.h"

enum {
	MEM_MIB = 8,
	TOTAL_MIB = 128,
	POOL_PAGES = MEM_MIB / 2 + 16,
	TOUCH_MIB = 2, /* see the guest */
	LEFT_KIB = 512,
};

static bool start(struct squib *squib, const char *pages)
{
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\": \"%.400s/hotplug.%s\", \"boot_args\": "
			 "\"console=ttyS0\"}",
			 env("GUEST_DIR"), is_x86() ? "elf" : "img") &&
	       squib_put(squib, "/machine-config",
			 "{\"vcpu_count\": 1, \"mem_size_mib\": %d, \"huge_pages\": \"%s\"}",
			 MEM_MIB, pages) &&
	       squib_put(squib, "/hotplug/memory", "{\"total_size_mib\": %d}", TOTAL_MIB) &&
	       squib_api_start(squib, 204) && squib_expect(squib, "hotplug: ready", NULL);
}

static bool request(struct squib *squib, int mib)
{
	return squib_patch(squib, "/hotplug/memory", "{\"requested_size_mib\": %d}", mib);
}

static bool has_plugged(struct squib *squib, long mib)
{
	return squib_api(squib, 200, "GET", "/hotplug/memory", "%s", "") &&
	       (squib_answer_number(squib, "plugged_size_mib") == mib ||
		squib_fail(squib, "it has %s, not %ld MiB", squib->answer, mib));
}

static bool shrinks(struct squib *squib)
{
	return request(squib, 0) && squib_expect(squib, "hotplug: unplugged", NULL) &&
	       squib_expect(squib, "hotplug: a ring is refused", NULL) && has_plugged(squib, 0);
}

/* Saves the machine and goes on with it in another process. */
static bool renew(struct squib *squib, const char *type)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_put(squib, "/snapshot/create",
			 "{\"snapshot_type\": \"%s\", \"snapshot_path\": \"state\", "
			 "\"mem_file_path\": \"memory\"}",
			 type) &&
	       squib_replace(squib, NULL) &&
	       squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_path\": "
			 "\"memory\", \"backend_type\": \"File\"}, \"resume_vm\": true, "
			 "\"track_dirty_pages\": true}");
}

/* Half of it, then all; then it is loaded with a part that has gone. */
static bool grows_and_is_loaded(struct squib *squib)
{
	return request(squib, TOTAL_MIB / 2) &&
	       squib_expect(squib, "hotplug: plugged 0x20", NULL) && renew(squib, "Full") &&
	       has_plugged(squib, TOTAL_MIB / 2) && request(squib, TOTAL_MIB) &&
	       squib_expect(squib, "hotplug: plugged 0x40", NULL) && renew(squib, "Diff") &&
	       has_plugged(squib, TOTAL_MIB) && request(squib, TOTAL_MIB - 2) &&
	       squib_expect(squib, "hotplug: plugged 0x40", NULL);
}

bool hotplug_test(struct squib *squib)
{
	if (!start(squib, "None")) {
		return false;
	}
	long before = proc_status_field(squib->pid, "VmRSS");

	if (!grows_and_is_loaded(squib) || !shrinks(squib)) {
		return false;
	}
	long after = proc_status_field(squib->pid, "VmRSS");

	return after < before + LEFT_KIB ||
	       squib_fail(squib, "%ld KiB are left of what was unplugged", after - before);
}

/* A KVM that only interprets guests finds no memory there either, but goes on. */
bool hotplug_touch_test(struct squib *squib)
{
	return start(squib, "None") && request(squib, TOUCH_MIB) &&
	       squib_expect(squib, "hotplug: touching", NULL) &&
	       squib_expect(squib, "the guest touched memory that is not plugged", NULL) &&
	       squib_ends(squib, 1);
}

/* The pool has fewer pages than are requested: the guest gets what there is. */
static bool runs_on_the_pool(struct squib *squib)
{
	return huge_pool_set(POOL_PAGES) && start(squib, "2M") && request(squib, TOTAL_MIB) &&
	       squib_expect(squib, "hotplug: plugged 0x10", NULL) &&
	       has_plugged(squib, (POOL_PAGES - MEM_MIB / 2) * 2) && renew(squib, "Full") &&
	       has_plugged(squib, (POOL_PAGES - MEM_MIB / 2) * 2) &&
	       request(squib, TOTAL_MIB - 2) &&
	       squib_expect(squib, "hotplug: plugged 0x10", NULL) &&
	       (huge_pool("free_hugepages") == huge_pool("resv_hugepages") ||
		squib_fail(squib, "the pool has pages left")) &&
	       shrinks(squib) &&
	       (huge_pool("free_hugepages") >= POOL_PAGES - MEM_MIB / 2 ||
		squib_fail(squib, "the pool does not get its pages back"));
}

bool hotplug_pool_test(struct squib *squib)
{
	long old = huge_pool("nr_hugepages");
	bool is_ok = runs_on_the_pool(squib);

	squib_stop(squib);
	return (huge_pool_set(old) || squib_fail(squib, "the pool can't be set back")) && is_ok;
}

const char *hotplug_pool_lacks(void)
{
	long old = huge_pool("nr_hugepages");
	bool is_there = old >= 0 && huge_pool_set(POOL_PAGES);

	if (old >= 0) {
		(void)!huge_pool_set(old);
	}
	return is_there ? NULL : "a pool of pages of 2 MiB";
}
