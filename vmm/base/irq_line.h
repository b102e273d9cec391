/* SPDX-License-Identifier: Apache-2.0 */
/* How a device raises an interrupt without knowing who delivers it. */
#ifndef VMM_BASE_IRQ_LINE_H
#define VMM_BASE_IRQ_LINE_H

/* One edge per call. Callable from any thread; never blocks; failures are the deliverer's. */
struct irq_line {
	void (*fire)(void *arg);
	/* The eventfd behind it, for another process; it stays the deliverer's. NULL: none. */
	int (*eventfd)(void *arg);
	void *arg;
};

static inline void irq_line_fire(const struct irq_line *line)
{
	line->fire(line->arg);
}

#endif
