/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all checks, and how it is shown. */
#include "tools/doctor/doctor.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "tools/doctor/checks.h"
#include "vmm/base/bytes.h"

static const struct check checks[] = {
	{"/dev/kvm", "every machine", true, check_kvm_device, NULL},
	{"KVM's interface", "every machine", true, check_kvm_interface, NULL},
	{"Linux guests", "every machine", true, check_kvm_guests, NULL},
	{"squib", "every machine", true, check_squib, NULL},
	{"seccomp filters", "every machine, but for --no-seccomp", true, check_filters, NULL},
	{"guest kernel", "squibctl run", false, check_kernel, NULL},
	{"mkfs.erofs", "squibctl run of directories and OCI images", false, check_program,
	 "erofs-utils"},
	{"umoci", "squibctl run of OCI images", false, check_program, "umoci"},
	{"skopeo", "squibctl run of registries' images and docker archives", false, check_program,
	 "skopeo"},
	{"mke2fs", "squibctl run --disk", false, check_program, "e2fsprogs"},
	{"/dev/net/tun", "network interfaces", false, check_tun, NULL},
	{"/dev/vhost-net", "network interfaces with vhost", false, check_vhost_net, NULL},
	{"passt", "networks of users who are not root", false, check_program, "passt"},
	{"io_uring", "drives with the engine Async", false, check_uring, NULL},
	{"virtiofsd", "directories of this host in guests", false, check_virtiofsd, "virtiofsd"},
	{"qemu-storage-daemon", "disks that another process serves", false, check_program,
	 "qemu-system-common"},
	{"message interrupts", "a PCI bus (--enable-pci)", false, check_kvm_messages, NULL},
	{"dirty log", "Diff snapshots", false, check_kvm_dirty_log, NULL},
	{"userfaultfd", "snapshots whose memory a page fault handler serves", false,
	 check_userfaultfd, NULL},
	{"huge pages", "machines with huge_pages 2M", false, check_huge_pages, NULL},
	{"guest debugging", "gdb", false, check_kvm_debug, NULL},
	{"Landlock", "--landlock", false, check_landlock, NULL},
	{"control groups", "jailer --cgroup", false, check_cgroups, NULL},
};

static const char *const verdicts[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_MISSING] = "missing",
	[DOCTOR_UNKNOWN] = "unknown",
};

void finding_set(struct finding *finding, enum verdict verdict, const char *fmt, ...)
{
	va_list args;

	finding->verdict = verdict;
	va_start(args, fmt);
	(void)!vsnprintf(finding->value, sizeof(finding->value), fmt, args);
	va_end(args);
}

void finding_cure(struct finding *finding, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)!vsnprintf(finding->cure, sizeof(finding->cure), fmt, args);
	va_end(args);
}

static void print_row(const struct finding *finding)
{
	const struct check *check = finding->check;

	printf("%-7s %c %-20s %s\n", verdicts[finding->verdict], check->is_essential ? '*' : ' ',
	       check->what, finding->value);
	if (finding->verdict != DOCTOR_OK) {
		printf("%30s for: %s\n", "", check->feature);
	}
	if (finding->cure[0] != '\0') {
		printf("%30s cure: %s\n", "", finding->cure);
	}
}

static json_t *row_json(const struct finding *finding)
{
	const struct check *check = finding->check;

	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s*}", "what", check->what, "for",
			 check->feature, "verdict", verdicts[finding->verdict], "value",
			 finding->value, "essential", (int)check->is_essential, "cure",
			 finding->cure[0] != '\0' ? finding->cure : NULL);
}

static void print_json(json_t *rows, bool is_fit)
{
	/* Owns the rows from now on. */
	json_t *root = json_pack("{s:b, s:o}", "essentials", (int)is_fit, "rows", rows);

	(void)json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

int doctor(const struct doctor_plan *plan, bool is_json)
{
	json_t *rows = is_json ? json_array() : NULL;
	bool is_fit = true;

	for (size_t i = 0; i < ARRAY_COUNT(checks); i++) {
		struct finding finding = {
			.check = &checks[i], .plan = plan, .verdict = DOCTOR_UNKNOWN};

		checks[i].look(&finding);
		is_fit = is_fit && (!checks[i].is_essential || finding.verdict == DOCTOR_OK);
		if (is_json) {
			json_array_append_new(rows, row_json(&finding));
		} else {
			print_row(&finding);
		}
	}
	if (is_json) {
		print_json(rows, is_fit);
	} else {
		puts(is_fit ? "\nAll that every machine needs (*) is there."
			    : "\nThis host can't run every machine: see the rows with * that are "
			      "not ok.");
	}
	return is_fit ? 0 : 1;
}
