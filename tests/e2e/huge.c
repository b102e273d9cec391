/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest on the host's pool of 2 MiB pages: one that is too small, one that is not, reporting, and
 * what is left in the end. It sets the pool's size, and sets it back.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/live.h"

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

enum {
	MEM_MIB = 128,
	PAGES = MEM_MIB / 2,
	TOO_FEW = 7,
	FILE_MIB = 48, /* what the guest writes and drops */
};

/* --- the pool --- */

static long pool(const char *name)
{
	char path[128];
	long number = -1;

	snprintf(path, sizeof(path), POOL "%s", name);
	FILE *file = fopen(path, "re");

	if (file != NULL) {
		(void)!fscanf(file, "%ld", &number);
		fclose(file);
	}
	return number;
}

/* True if the pool has as many pages then. */
static bool set_pool(long pages)
{
	FILE *file = fopen(POOL "nr_hugepages", "we");

	if (file != NULL) {
		fprintf(file, "%ld\n", pages);
		fclose(file);
	}
	return pool("nr_hugepages") == pages;
}

static bool pool_is_unused(struct live *live, const char *when)
{
	uint64_t until = now_ms() + LIVE_PATIENCE_MS;

	while (pool("free_hugepages") != pool("nr_hugepages") || pool("resv_hugepages") != 0) {
		if (now_ms() > until) {
			return live_fail(live, "%s: of %ld pages %ld are free, %ld reserved", when,
					 pool("nr_hugepages"), pool("free_hugepages"),
					 pool("resv_hugepages"));
		}
		sleep_ms(20);
	}
	return true;
}

static bool configure(struct live *live)
{
	return live_start(live) &&
	       live_api(live, 204, "PUT", "/boot-source",
			"{\"kernel_image_path\": \"%.400s/%s\", \"initrd_path\": "
			"\"%.400s/initrd.cpio\", \"boot_args\": \"console=ttyS0 reboot=k panic=1 "
			"nomodule i8042.noaux i8042.nomux i8042.dumbkbd\"}",
			env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image", env("IMAGE_DIR")) &&
	       live_api(live, 204, "PUT", "/balloon",
			"{\"amount_mib\": 0, \"deflate_on_oom\": true, \"free_page_reporting\": "
			"true}") &&
	       live_api(live, 204, "PUT", "/machine-config",
			"{\"vcpu_count\": 1, \"mem_size_mib\": %d, \"huge_pages\": \"2M\"}",
			MEM_MIB);
}

/* MiB of the monitor that are pages of the pool. */
static long huge_mib(const struct live *live)
{
	return proc_smaps_kib(live->squib.pid, "Private_Hugetlb") / 1024;
}

static bool has_huge_mib(struct live *live, long least, long most, const char *when)
{
	uint64_t until = now_ms() + LIVE_PATIENCE_MS;

	while (huge_mib(live) < least || huge_mib(live) > most) {
		if (now_ms() > until) {
			return live_fail(live, "%s: %ld MiB are pages of the pool, not %ld to %ld",
					 when, huge_mib(live), least, most);
		}
		sleep_ms(100);
	}
	return true;
}

/* --- the test --- */

static bool is_refused_and_says_why(struct live *live)
{
	char why[256];

	snprintf(why, sizeof(why),
		 "Start microvm error: Invalid Memory Configuration: Cannot create mmap region: "
		 "Out of memory (os error 12); %d huge pages of 2 MiB are needed and %d are free: "
		 "enlarge the pool with sysctl vm.nr_hugepages=%d\"",
		 PAGES, TOO_FEW, PAGES);
	if (!set_pool(TOO_FEW)) {
		return live_fail(live, "the pool can't be set");
	}
	return live_instance_start(live, 400) &&
	       (strstr(live->answer, why) != NULL ||
		live_fail(live, "the refusal is %s", live->answer)) &&
	       pool_is_unused(live, "after the refusal");
}

static bool runs_on_the_pool(struct live *live)
{
	char write_file[128];
	char drop_file[128];

	snprintf(write_file, sizeof(write_file),
		 "dd if=/dev/zero of=/tmp/f bs=1M count=%d; echo writ''ten\n", FILE_MIB);
	snprintf(drop_file, sizeof(drop_file), "rm /tmp/f; echo drop''ped\n");
	if (!live_console(live, "", "guest# ") ||
	    !live_console(live, "mkdir -p /tmp; mount -t tmpfs t /tmp; echo moun''ted\n",
			  "mounted")) {
		return false;
	}
	/* Whole pages, so more than the guest has touched; what of it is free is given back. */
	return has_huge_mib(live, 2, MEM_MIB, "booted") &&
	       (pool("nr_hugepages") - pool("free_hugepages") >= huge_mib(live) / 2 ||
		live_fail(live, "the pool does not know of them")) &&
	       live_console(live, write_file, "written") &&
	       has_huge_mib(live, FILE_MIB, MEM_MIB, "written") &&
	       live_console(live, drop_file, "dropped") &&
	       has_huge_mib(live, 2, FILE_MIB, "free pages are reported");
}

static bool reboots(struct live *live)
{
	int exit = -1;

	if (write(live->typing, "reboot\n", 7) != 7 ||
	    !squib_wait(&live->squib, LIVE_PATIENCE_MS, &exit) || exit != 0) {
		return live_fail(live, "its end is %d", exit);
	}
	return pool_is_unused(live, "in the end");
}

bool huge_pages_test(struct live *live)
{
	long old = pool("nr_hugepages");

	if (old < 0) {
		return live_fail(live, "the host has no pool of 2 MiB pages");
	}
	bool is_ok = configure(live) && is_refused_and_says_why(live) &&
		     (set_pool(PAGES) || live_fail(live, "the pool can't have %d pages", PAGES)) &&
		     live_instance_start(live, 204) && runs_on_the_pool(live) && reboots(live);

	squib_stop(&live->squib);
	return (set_pool(old) || live_fail(live, "the pool can't be set back")) && is_ok;
}
