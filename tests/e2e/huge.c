/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest on the host's pool of 2 MiB pages: one that is too small, one that is not, reporting, and
 * what is left in the end. It sets the pool's size, and sets it back.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"
#include "tests/lib/huge_pool.h"

enum {
	MEM_MIB = 128,
	PAGES = MEM_MIB / 2,
	TOO_FEW = 7,
	OWN_MIB =
		64, /* RAM is larger, and so are the rings of sockets, which ask for no huge page */
	FILE_MIB = 48, /* what the guest writes and drops */
};

/* --- the pool --- */

static bool pool_is_unused(struct squib *squib, const char *when)
{
	uint64_t until = now_ms() + PATIENCE_MS;

	while (huge_pool("free_hugepages") != huge_pool("nr_hugepages") ||
	       huge_pool("resv_hugepages") != 0) {
		if (now_ms() > until) {
			return squib_fail(squib, "%s: of %ld pages %ld are free, %ld reserved",
					  when, huge_pool("nr_hugepages"),
					  huge_pool("free_hugepages"), huge_pool("resv_hugepages"));
		}
		sleep_ms(20);
	}
	return true;
}

/* `way`: how the guest tells what is free, a feature of the balloon. */
static bool configure(struct squib *squib, const char *way)
{
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\": \"%.400s/%s\", \"initrd_path\": "
			 "\"%.400s/initrd.cpio\", \"boot_args\": \"console=ttyS0 quiet reboot=k "
			 "panic=1 "
			 "nomodule i8042.noaux i8042.nomux i8042.dumbkbd\"}",
			 env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image", env("IMAGE_DIR")) &&
	       squib_put(squib, "/balloon",
			 "{\"amount_mib\": 0, \"deflate_on_oom\": true, \"%s\": true}", way) &&
	       squib_put(squib, "/machine-config",
			 "{\"vcpu_count\": 1, \"mem_size_mib\": %d, \"huge_pages\": \"2M\"}",
			 MEM_MIB);
}

/* MiB of the monitor that are pages of the pool. */
static long huge_mib(const struct squib *squib)
{
	return proc_smaps_kib(squib->pid, "Private_Hugetlb") / 1024;
}

static bool has_huge_mib(struct squib *squib, long least, long most, const char *when)
{
	uint64_t until = now_ms() + PATIENCE_MS;

	while (huge_mib(squib) < least || huge_mib(squib) > most) {
		if (now_ms() > until) {
			return squib_fail(squib,
					  "%s: %ld MiB are pages of the pool, not %ld to %ld", when,
					  huge_mib(squib), least, most);
		}
		sleep_ms(100);
	}
	return true;
}

/* --- the test --- */

static bool is_refused_and_says_why(struct squib *squib)
{
	char why[256];

	snprintf(why, sizeof(why),
		 "Start microvm error: Invalid Memory Configuration: Cannot create mmap region: "
		 "Out of memory (os error 12); %d huge pages of 2 MiB are needed and %d are free: "
		 "enlarge the pool with sysctl vm.nr_hugepages=%d\"",
		 PAGES, TOO_FEW, PAGES);
	if (!huge_pool_set(TOO_FEW)) {
		return squib_fail(squib, "the pool can't be set");
	}
	return squib_api_start(squib, 400) &&
	       (strstr(squib->answer, why) != NULL ||
		squib_fail(squib, "the refusal is %s", squib->answer)) &&
	       pool_is_unused(squib, "after the refusal");
}

/* Whole pages, so more than the guest has touched; a file that is written and dropped. */
static bool writes_and_drops(struct squib *squib)
{
	char write_file[128];
	char drop_file[128];

	snprintf(write_file, sizeof(write_file),
		 "dd if=/dev/zero of=/tmp/f bs=1M count=%d; echo writ''ten\n", FILE_MIB);
	snprintf(drop_file, sizeof(drop_file), "rm /tmp/f; echo drop''ped\n");
	if (!squib_ask(squib, "", "guest# ") ||
	    !squib_ask(squib, "mkdir -p /tmp; mount -t tmpfs t /tmp; echo moun''ted\n",
		       "mounted")) {
		return false;
	}
	return has_huge_mib(squib, 2, MEM_MIB, "booted") &&
	       (huge_pool("nr_hugepages") - huge_pool("free_hugepages") >= huge_mib(squib) / 2 ||
		squib_fail(squib, "the pool does not know of them")) &&
	       squib_ask(squib, write_file, "written") &&
	       has_huge_mib(squib, FILE_MIB, MEM_MIB, "written") &&
	       squib_ask(squib, drop_file, "dropped");
}

static bool runs_on_the_pool(struct squib *squib)
{
	return writes_and_drops(squib) &&
	       has_huge_mib(squib, 2, FILE_MIB, "free pages are reported");
}

static bool reboots(struct squib *squib)
{
	int exit = -1;

	if (write(squib->typing, "reboot\n", 7) != 7 || !squib_wait(squib, PATIENCE_MS, &exit) ||
	    exit != 0) {
		return squib_fail(squib, "its end is %d", exit);
	}
	return pool_is_unused(squib, "in the end");
}

static bool hints_on_the_pool(struct squib *squib)
{
	return configure(squib, "free_page_hinting") && squib_api_start(squib, 204) &&
	       writes_and_drops(squib) &&
	       has_huge_mib(squib, FILE_MIB, MEM_MIB, "nothing is hinted yet") &&
	       squib_patch(squib, "/balloon/hinting/start", "{}") &&
	       has_huge_mib(squib, 2, FILE_MIB, "free pages are hinted");
}

/* What is free is told once, when it is asked for. */
bool huge_hinting_test(struct squib *squib)
{
	long old = huge_pool("nr_hugepages");
	bool is_ok = huge_pool_set(PAGES) ? hints_on_the_pool(squib)
					  : squib_fail(squib, "the pool can't be set");

	squib_stop(squib);
	return (huge_pool_set(old) || squib_fail(squib, "the pool can't be set back")) && is_ok;
}

bool huge_pages_test(struct squib *squib)
{
	long old = huge_pool("nr_hugepages");

	if (old < 0) {
		return squib_fail(squib, "the host has no pool of 2 MiB pages");
	}
	bool is_ok = configure(squib, "free_page_reporting") && is_refused_and_says_why(squib) &&
		     (huge_pool_set(PAGES) ||
		      squib_fail(squib, "the pool can't have %d pages", PAGES)) &&
		     squib_api_start(squib, 204) && runs_on_the_pool(squib) && reboots(squib);

	squib_stop(squib);
	return (huge_pool_set(old) || squib_fail(squib, "the pool can't be set back")) && is_ok;
}

/* --- Huge pages that nobody asked for --- */

/* Whatever the host's setting is: what has no room for a huge page gets none. */
bool huge_unasked_test(struct squib *squib)
{
	char kernel[PATH_LEN];
	char line[512];

	payload_path("idle", kernel);
	if (!squib_write(squib, "disk", "") || !squib_serve(squib, NULL) ||
	    !squib_put(squib, "/boot-source",
		       "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
		       kernel) ||
	    !squib_put(squib, "/machine-config", "{\"vcpu_count\": 2, \"mem_size_mib\": %d}",
		       MEM_MIB) ||
	    !squib_put(
		    squib, "/drives/d",
		    "{\"drive_id\": \"d\", \"path_on_host\": \"disk\", \"is_root_device\": false, "
		    "\"io_engine\": \"Async\"}") ||
	    !squib_put(squib, "/vsock", "{\"guest_cid\": 3, \"uds_path\": \"v.sock\"}") ||
	    !squib_put(squib, "/balloon", "{\"amount_mib\": 0, \"deflate_on_oom\": true}") ||
	    !squib_put(squib, "/entropy", "{}") || !squib_api_start(squib, 204) ||
	    !squib_expect(squib, "idle: ready", NULL)) {
		return false;
	}
	return !proc_has_huge_room(squib->pid, OWN_MIB, line, sizeof(line)) ||
	       squib_fail(squib, "the monitor could have a huge page in %s", line);
}
