/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers without exits.
 *
 * Theory of operation. An interrupt of virtio-mmio is two accesses of its driver: it reads the
 * interrupt status and writes back what it has read [virtio-1.2 §4.2.3.4]. Each would be an exit
 * of the vCPU to this process. So the windows of all devices are one memory slot that the guest can
 * only read: a read finds the page that the device fills (devices/virtio/core/mmio.c), and a write
 * still leaves the guest [kvm-api 4.35, KVM_MEM_READONLY]. Of these, KVM keeps acknowledgments of
 * used buffers to itself: they signal an eventfd that nobody reads, whose counter stays below its
 * end for as long as a machine lives.
 *
 * We write to the pages and never read them: their content is never the guest's.
 */
#include "vmm/machine/registers.h"

#include <assert.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "arch/arch.h"
#include "arch/device_memory.h"
#include "devices/virtio/core/mmio.h"
#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

/* The windows lie one behind the other [arch_virtio_slot]. */
static void find_windows(struct registers *registers)
{
	struct platform_dev window;

	for (size_t i = 0; arch_virtio_slot(i, &window); i++) {
		registers->base = i == 0 ? window.base : registers->base;
		registers->len = window.base + window.len - registers->base;
	}
}

static int show(struct registers *registers, unsigned slot, struct error *err)
{
	void *pages = mmap(NULL, registers->len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (pages == MAP_FAILED) {
		return error_sys(err, "Cannot make pages for the registers of virtio devices");
	}
	registers->pages = pages;
	return kvm_set_read_only_memory(registers->vm_fd, slot,
					(struct gmem_range){GPA(registers->base), registers->len},
					pages, err);
}

int registers_init(struct registers *registers, int vm_fd, unsigned slot, struct error *err)
{
	*registers = (struct registers){
		.is_made = true,
		.vm_fd = vm_fd,
		.acks = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	if (registers->acks < 0) {
		return error_sys(err, "Cannot create an eventfd for acknowledged interrupts");
	}
	find_windows(registers);
	return arch_shows_registers(vm_fd) ? show(registers, slot, err) : 0;
}

uint8_t *registers_page(const struct registers *registers, uint64_t base)
{
	assert(base >= registers->base && base - registers->base < registers->len);
	return registers->pages != NULL ? registers->pages + (base - registers->base) : NULL;
}

int registers_take_acks(const struct registers *registers, uint64_t base, struct error *err)
{
	return kvm_ioeventfd(registers->vm_fd, registers->acks, base + VIRTIO_MMIO_INTERRUPT_ACK,
			     VIRTIO_MMIO_ACK_USED, err);
}

int registers_hide_from_forks(const struct registers *registers, struct error *err)
{
	if (registers->pages != NULL &&
	    madvise(registers->pages, registers->len, MADV_DONTFORK) < 0) {
		return error_sys(err, "Cannot hide the registers of virtio devices from a fork");
	}
	return 0;
}

void registers_destroy(struct registers *registers)
{
	if (!registers->is_made) {
		return;
	}
	if (registers->pages != NULL) {
		munmap(registers->pages, registers->len);
	}
	fd_close(&registers->acks);
	*registers = (struct registers){0};
}
