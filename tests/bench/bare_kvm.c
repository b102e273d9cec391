/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under a monitor's start: only the KVM calls that any guest needs, in the order that
 * costs least (see vmm/machine/vm.c), up to the guest's first exit.
 *
 * usage: bare_kvm EXEC_US [MEMORY_FILE]
 *
 * Tells its marks as squib's log does, so that one reader understands both. EXEC_US is
 * CLOCK_MONOTONIC in microseconds when the launcher called exec. With a MEMORY_FILE, that of a
 * snapshot, guest memory is a private mapping of it, as long as the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/bench/bare.h"

enum mark {
	MARK_MAIN,
	MARK_VM,
	MARK_VCPUS,
	MARK_KERNEL,
	MARK_DEVICES,
	MARK_RUN,
	MARK_FIRST,
	MARKS,
};

/* As in vmm/machine/timeline.c; "init" is there the mark of the guest's own sign of life. */
static const char *const names[MARKS] = {
	[MARK_MAIN] = "main",	  [MARK_VM] = "vm",	      [MARK_VCPUS] = "vcpus",
	[MARK_KERNEL] = "kernel", [MARK_DEVICES] = "devices", [MARK_RUN] = "run",
	[MARK_FIRST] = "init",
};

static void *map(int fd, size_t len, int flags)
{
	void *area = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (area == MAP_FAILED) {
		bare_die("mmap");
	}
	return area;
}

/* Gives `len` bytes at `ram` to the guest; x86_64 has its devices between 3 and 4 GiB. */
static void give_memory(int vm, const uint8_t *ram, uint64_t len)
{
	static const uint64_t gap = 3ULL << 30;
	static const uint64_t behind_gap = 4ULL << 30;
	struct kvm_userspace_memory_region slots[] = {
		{
			.slot = 0,
			.guest_phys_addr = bare_ram_base,
			.memory_size = len < gap ? len : gap,
			.userspace_addr = (uintptr_t)ram,
		},
		{
			.slot = 1,
			.guest_phys_addr = bare_ram_base + behind_gap,
			.memory_size = len < gap ? 0 : len - gap,
			.userspace_addr = (uintptr_t)ram + gap,
		},
	};

	for (int i = 0; i < 2 && slots[i].memory_size > 0; i++) {
		bare_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slots[i], "KVM_SET_USER_MEMORY_REGION");
	}
}

int main(int argc, char **argv)
{
	uint64_t at[MARKS] = {[MARK_MAIN] = (uint64_t)bare_now_us()};
	uint64_t exec_us = argc > 1 ? strtoull(argv[1], NULL, 10) : at[MARK_MAIN];
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		bare_die("/dev/kvm");
	}
	int vm = bare_ioctl(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	int memory = argc > 2 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;

	if (argc > 2 && memory < 0) {
		bare_die(argv[2]);
	}
	struct stat st = {.st_size = BARE_RAM_LEN};

	if (argc > 2 && fstat(memory, &st) < 0) {
		bare_die(argv[2]);
	}
	uint8_t *ram = map(memory, (size_t)st.st_size,
			   MAP_PRIVATE | MAP_NORESERVE | (argc > 2 ? 0 : MAP_ANONYMOUS));

	give_memory(vm, ram, (uint64_t)st.st_size);
	bare_vm_init(kvm, vm);
	at[MARK_VM] = (uint64_t)bare_now_us();

	int vcpu = bare_ioctl(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	int run_len = bare_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
	const struct kvm_run *run = map(vcpu, (size_t)run_len, MAP_SHARED);

	bare_vcpu_init(vm, vcpu);
	bare_vm_finish(vm);
	at[MARK_VCPUS] = (uint64_t)bare_now_us();
	memcpy(ram + (bare_payload.addr - bare_ram_base), bare_payload.code, bare_payload.len);
	at[MARK_KERNEL] = (uint64_t)bare_now_us();
	bare_set_registers(vcpu);
	at[MARK_DEVICES] = (uint64_t)bare_now_us();
	at[MARK_RUN] = at[MARK_DEVICES];
	bare_ioctl(vcpu, KVM_RUN, NULL, "KVM_RUN");
	at[MARK_FIRST] = (uint64_t)bare_now_us();
	if (run->exit_reason != KVM_EXIT_IO && run->exit_reason != KVM_EXIT_MMIO) {
		fprintf(stderr, "bare_kvm: the payload ended with exit reason %u\n",
			run->exit_reason);
		return EXIT_FAILURE;
	}
	printf("Boot timeline (us): exec 0");
	for (int i = 0; i < MARKS; i++) {
		printf(", %s %llu", names[i], (unsigned long long)(at[i] - exec_us));
	}
	printf("\n");
	return EXIT_SUCCESS;
}
