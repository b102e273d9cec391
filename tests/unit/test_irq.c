/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/irq.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/fake/kvm_fake.h"
#include "vmm/machine/irq.h"

static struct kvm_irqfd seen;

static int see(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(&seen, arg, sizeof(seen));
	return 0;
}

Test(gsi, a_line_is_bound_and_each_edge_is_a_write)
{
	struct gsi_line line;
	struct error err = {0};
	eventfd_t count = 0;

	kvm_fake_script(KVM_IRQFD, see);
	cr_assert(gsi_line_init(&line, 5, 33, &err) == 0, "%s", err.msg);
	cr_assert(seen.gsi == 33 && seen.fd == (uint32_t)line.eventfd);
	cr_assert((fcntl(line.eventfd, F_GETFD) & FD_CLOEXEC) != 0);
	struct irq_line irq = gsi_irq_line(&line);

	irq_line_fire(&irq);
	irq_line_fire(&irq);
	cr_assert(eventfd_read(line.eventfd, &count) == 0 && count == 2);
	gsi_line_destroy(&line);
	cr_assert(line.eventfd == -1);
	gsi_line_destroy(&line);
}

Test(gsi, firing_never_blocks, .timeout = 5)
{
	struct gsi_line line;
	struct error err = {0};

	cr_assert(gsi_line_init(&line, 5, 1, &err) == 0);
	struct irq_line irq = gsi_irq_line(&line);

	cr_assert(eventfd_write(line.eventfd, UINT64_MAX - 1) == 0);
	irq_line_fire(&irq);
	gsi_line_destroy(&line);
}

Test(gsi, a_refusal_leaks_nothing_and_names_the_gsi)
{
	unsigned fds = kvm_fake_open_fds();
	struct gsi_line line;
	struct error err = {0};

	kvm_fake_fail(KVM_IRQFD, 1, EBUSY);
	cr_assert(gsi_line_init(&line, 5, 7, &err) == -1);
	cr_assert_str_eq(err.msg, "Cannot bind an interrupt line to GSI 7: KVM_IRQFD failed: "
				  "Resource busy (os error 16)");
	cr_assert(line.eventfd == -1 && kvm_fake_open_fds() == fds);
}
