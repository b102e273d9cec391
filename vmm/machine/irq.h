/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupt lines into the guest: an eventfd that KVM turns into an edge on a GSI. */
#ifndef VMM_MACHINE_IRQ_H
#define VMM_MACHINE_IRQ_H

#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/irq_line.h"

struct gsi_line {
	int eventfd; /* -1: none */
};

/* Binds a fresh line to `gsi` of the VM; needs the in-kernel irqchip. */
MUST_CHECK int gsi_line_init(struct gsi_line *line, int vm_fd, uint32_t gsi, struct error *err);
void gsi_line_destroy(struct gsi_line *line); /* only a line that was initialised, or -1 */

/* The line as devices see it; `line` must outlive it. */
struct irq_line gsi_irq_line(struct gsi_line *line);

#endif
