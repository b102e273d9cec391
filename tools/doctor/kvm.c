/* SPDX-License-Identifier: Apache-2.0 */
/* What /dev/kvm can do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/arch.h"
#include "tools/doctor/checks.h"
#include "tools/kvm_probe/kvm_probe.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

enum {
	GROUP_FILE_MAX = 4 << 20,
	NAME_LEN = 64,
	CPUINFO_MAX = 16 << 20,
};

static const char device[] = "/dev/kvm";

/* --- the device --- */

/* A group's name; false: /etc/group has none. */
static bool find_group(gid_t gid, char name[NAME_LEN])
{
	AUTO_FREE char *text = NULL;
	struct error ignored = {0};
	size_t len;
	char *rest;

	if (read_file("/etc/group", "Groups", GROUP_FILE_MAX, &text, &len, &ignored) < 0) {
		return false;
	}
	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		const char *found = strsep(&line, ":");
		const char *password = strsep(&line, ":");
		const char *number = strsep(&line, ":");

		if (password != NULL && number != NULL && strtoul(number, NULL, 10) == gid) {
			(void)!snprintf(name, NAME_LEN, "%s", found);
			return true;
		}
	}
	return false;
}

/* Of a device that is there, and closed to this user. */
static void cure_access(struct finding *finding)
{
	const char *user = getenv("USER");
	char group[NAME_LEN];
	struct stat st;

	if (stat(device, &st) < 0) {
		finding_cure(finding, "give this user access to %s", device);
	} else if ((st.st_mode & S_IRWXG) == 0 || st.st_gid == 0) {
		finding_cure(finding,
			     "sudo chgrp kvm %s && sudo chmod 660 %s && sudo usermod -aG kvm %s, "
			     "then log in again",
			     device, device, user != NULL ? user : "USER");
	} else if (find_group(st.st_gid, group)) {
		finding_cure(finding, "sudo usermod -aG %s %s, then log in again", group,
			     user != NULL ? user : "USER");
	} else {
		/* As in a container that has the device of its host. */
		finding_cure(finding,
			     "sudo groupadd -g %u hostkvm && sudo usermod -aG hostkvm %s, then log "
			     "in again",
			     st.st_gid, user != NULL ? user : "USER");
	}
}

/* Of a device that is not there. /proc/cpuinfo has x86_64's extensions; an Arm kernel has no
 * module. */
static void cure_absence(struct finding *finding)
{
	AUTO_FREE char *text = NULL;
	struct error ignored = {0};
	size_t len;

	if (read_file("/proc/cpuinfo", "The processors", CPUINFO_MAX, &text, &len, &ignored) < 0) {
		return;
	}
	if (strstr(text, " vmx") != NULL) {
		finding_cure(finding, "sudo modprobe kvm_intel");
	} else if (strstr(text, " svm") != NULL) {
		finding_cure(finding, "sudo modprobe kvm_amd");
	} else {
		finding_cure(finding,
			     "enable virtualization in the firmware, or of a virtual "
			     "machine let its host pass it on; in a container, pass on %s",
			     device);
	}
}

void check_kvm_device(struct finding *finding)
{
	struct error err = {0};
	AUTO_FD kvm = -1;

	if (kvm_open(&kvm, &err) == 0) {
		finding_set(finding, DOCTOR_OK, "can be opened");
		return;
	}
	finding_set(finding, DOCTOR_MISSING, "%s", err.msg);
	if (err.sys == EACCES || err.sys == EPERM) {
		cure_access(finding);
	} else {
		cure_absence(finding);
	}
}

/* --- what it can do --- */

/* False: it can't be opened, which another row shows. */
static bool open_kvm(int *kvm, struct finding *finding)
{
	struct error ignored = {0};
	bool is_open = kvm_open(kvm, &ignored) == 0;

	if (!is_open) {
		finding_set(finding, DOCTOR_UNKNOWN, "%s can't be asked", device);
	}
	return is_open;
}

void check_kvm_interface(struct finding *finding)
{
	struct error err = {0};
	AUTO_FD kvm = -1;

	if (!open_kvm(&kvm, finding)) {
		return;
	}
	if (arch_check_host(kvm, NULL, &err) == 0) {
		finding_set(finding, DOCTOR_OK, "has all capabilities that squib needs");
	} else {
		finding_set(finding, DOCTOR_MISSING, "%s", err.msg);
		finding_cure(finding, "boot Linux 5.10 or newer");
	}
}

void check_kvm_guests(struct finding *finding)
{
	struct error err = {0};
	AUTO_FD kvm = -1;

	if (!open_kvm(&kvm, finding)) {
		return;
	}
	switch (kvm_probe(&err)) {
	case PROBE_ALL:
		finding_set(finding, DOCTOR_OK, "run on the processor's virtualization");
		return;
	case PROBE_INTEGER:
		finding_set(finding, DOCTOR_MISSING,
			    "this KVM interprets its guests and lacks instructions: %s", err.msg);
		break;
	case PROBE_FAILED:
		finding_set(finding, DOCTOR_MISSING, "no guest runs: %s", err.msg);
		break;
	}
	finding_cure(finding, "use a host with hardware virtualization, or a virtual machine with "
			      "nested virtualization");
}

/* All of these capabilities are there. */
static void judge_caps(const struct kvm_cap *caps, size_t count, struct finding *finding)
{
	AUTO_FD kvm = -1;

	if (!open_kvm(&kvm, finding)) {
		return;
	}
	finding_set(finding, DOCTOR_OK, "KVM has what it takes");
	for (size_t i = 0; i < count; i++) {
		if (kvm_check_extension(kvm, caps[i].cap) == 0) {
			finding_set(finding, DOCTOR_MISSING, "KVM lacks %s", caps[i].name);
			finding_cure(finding, "boot a kernel whose KVM has it");
		}
	}
}

void check_kvm_messages(struct finding *finding)
{
	static const struct kvm_cap caps[] = {
		{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
		{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
	};

	judge_caps(caps, ARRAY_COUNT(caps), finding);
}

void check_kvm_debug(struct finding *finding)
{
	static const struct kvm_cap caps[] = {
		{KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG"},
	};

	judge_caps(caps, ARRAY_COUNT(caps), finding);
}

/* It has no capability of its own: one region that is logged tells. */
static int try_dirty_log(int kvm, const struct gmem *mem, struct error *err)
{
	const struct gmem_slot slot = gmem_slot(mem, 0);
	AUTO_FREE uint64_t *bitmap = calloc(probe_ram.len / 4096 / 64 + 1, sizeof(*bitmap));
	AUTO_FD vm = -1;

	if (bitmap == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a bitmap");
	}
	if (kvm_create_vm(kvm, arch_vm_type(kvm), &vm, err) < 0 ||
	    kvm_set_memory(vm, 0, &slot, true, err) < 0) {
		return -1;
	}
	return kvm_get_dirty_log(vm, 0, bitmap, err);
}

void check_kvm_dirty_log(struct finding *finding)
{
	struct error err = {0};
	struct gmem *mem = NULL;
	AUTO_FD kvm = -1;

	if (!open_kvm(&kvm, finding)) {
		return;
	}
	if (gmem_new(&probe_ram, 1, GMEM_ANON, &mem, &err) == 0 &&
	    try_dirty_log(kvm, mem, &err) == 0) {
		finding_set(finding, DOCTOR_OK, "KVM_GET_DIRTY_LOG works");
	} else {
		finding_set(finding, DOCTOR_MISSING, "%s", err.msg);
	}
	gmem_free(mem);
}
