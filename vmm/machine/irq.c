/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt lines by irqfd [kvm-api 4.75]: firing one is a write(2), never an exit. */
#include "vmm/machine/irq.h"

#include <sys/eventfd.h>

#include "vmm/base/fd.h"
#include "vmm/base/kvm.h"

int gsi_line_init(struct gsi_line *line, int vm_fd, uint32_t gsi, struct error *err)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	line->eventfd = -1;
	if (fd < 0) {
		return error_sys(err, "Cannot create an eventfd for GSI %u", gsi);
	}
	if (kvm_irqfd(vm_fd, fd, gsi, err) < 0) {
		return error_wrap(err, "Cannot bind an interrupt line to GSI %u", gsi);
	}
	line->eventfd = fd_take(&fd);
	return 0;
}

void gsi_line_destroy(struct gsi_line *line)
{
	fd_close(&line->eventfd);
}

static void fire(void *arg)
{
	const struct gsi_line *line = arg;

	/* Fails only when 2^64 - 2 edges are pending, which is an edge pending. */
	(void)!eventfd_write(line->eventfd, 1);
}

struct irq_line gsi_irq_line(struct gsi_line *line)
{
	return (struct irq_line){.fire = fire, .arg = line};
}
