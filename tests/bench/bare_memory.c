/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor under memory that comes and goes: what the kernel takes for it, without a monitor.
 *
 * Prints lines of "<name> <microseconds>": for 1 GiB in blocks of 2 MiB, permissions of which one
 * word is written, and taken away with its page; the same filled to the last page; and a memory
 * slot of KVM of 128 MiB that is set before interrupt chips and ioeventfds, and one after, and
 * removed. Without /dev/kvm for a virtual machine the last lines are not there.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tests/bench/bare.h"

#define MEM_LEN (UINT64_C(1) << 30)
#define BLOCK_LEN (UINT64_C(2) << 20)
#define PIECE_LEN (UINT64_C(32) << 20)
#define SLOT_LEN (UINT64_C(128) << 20)

enum {
	PAGE_LEN = 4096,
	EVENTS = 16,
};

static void tell(const char *name, double begin)
{
	printf("%s %.1f\n", name, bare_now_us() - begin);
}

static uint8_t *reserve(uint64_t len)
{
	void *area = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED) {
		bare_die("mmap");
	}
	return area;
}

/* Every `step` bytes a word is written to. */
static void come(uint8_t *area, uint64_t step)
{
	for (uint64_t at = 0; at < MEM_LEN; at += BLOCK_LEN) {
		if (mprotect(area + at, BLOCK_LEN, PROT_READ | PROT_WRITE) < 0) {
			bare_die("mprotect");
		}
		for (uint64_t word = 0; word < BLOCK_LEN; word += step) {
			area[at + word] = 1;
		}
	}
}

static void go(uint8_t *area, uint64_t piece)
{
	for (uint64_t at = 0; at < MEM_LEN; at += piece) {
		if (mprotect(area + at, piece, PROT_NONE) < 0 ||
		    madvise(area + at, piece, MADV_DONTNEED) < 0) {
			bare_die("unplug");
		}
	}
}

static void measure_pages(void)
{
	uint8_t *area = reserve(MEM_LEN);
	double begin = bare_now_us();

	come(area, BLOCK_LEN);
	tell("come", begin);
	begin = bare_now_us();
	go(area, BLOCK_LEN);
	tell("go", begin);
	begin = bare_now_us();
	come(area, PAGE_LEN);
	tell("come_full", begin);
	begin = bare_now_us();
	go(area, PIECE_LEN);
	tell("go_full", begin);
	munmap(area, MEM_LEN);
}

static void set_slot(int vm, uint32_t number, uint8_t *area, uint64_t len)
{
	struct kvm_userspace_memory_region slot = {
		.slot = number,
		.guest_phys_addr = (UINT64_C(1) << 39) + number * SLOT_LEN,
		.memory_size = len,
		.userspace_addr = (uintptr_t)area + number * SLOT_LEN,
	};

	bare_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
}

static void measure_slots(int kvm)
{
	uint8_t *area = reserve(4 * SLOT_LEN);
	int vm = bare_ioctl(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	double begin = bare_now_us();

	set_slot(vm, 0, area, SLOT_LEN);
	tell("slot_first", begin);
	bare_vm_init(kvm, vm);
	for (unsigned i = 0; i < EVENTS; i++) {
		struct kvm_ioeventfd event = {.addr = 0xc0001050 + i * UINT64_C(0x1000),
					      .len = 4,
					      .fd = eventfd(0, EFD_CLOEXEC)};

		bare_ioctl(vm, KVM_IOEVENTFD, &event, "KVM_IOEVENTFD");
	}
	for (uint32_t i = 1; i <= 3; i++) {
		begin = bare_now_us();
		set_slot(vm, i, area, SLOT_LEN);
		tell("slot_late", begin);
	}
	for (uint32_t i = 1; i <= 3; i++) {
		begin = bare_now_us();
		set_slot(vm, i, area, 0);
		tell("slot_drop", begin);
	}
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	measure_pages();
	if (kvm >= 0) {
		measure_slots(kvm);
	}
	return 0;
}
