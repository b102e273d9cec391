/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/irq.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "arch/pci.h"
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

/* --- Messages --- */

enum {
	ENTRIES_MAX = 2048
};

/* The last table that KVM was given. */
static struct {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[ENTRIES_MAX];
} table;

static uint32_t irqfd_gsis[64];
static unsigned irqfd_count;
static int device_ids;

static int see_table(int fd, unsigned long request, void *arg)
{
	const struct kvm_irq_routing *given = arg;

	(void)request;
	cr_assert(fd == 5 && given->nr <= ENTRIES_MAX && given->flags == 0);
	memcpy(&table, arg, sizeof(table.head) + given->nr * sizeof(table.entries[0]));
	return 0;
}

static int see_gsi(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	irqfd_gsis[irqfd_count++] = ((struct kvm_irqfd *)arg)->gsi;
	return 0;
}

static int has_device_ids(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	return (long)arg == KVM_CAP_MSI_DEVID ? device_ids : 1;
}

static struct msi_routes *routes;
static struct msi_group group;
static struct msi_port port;

static void make_group(unsigned slot, unsigned count)
{
	struct error err = {0};

	kvm_fake_script(KVM_SET_GSI_ROUTING, see_table);
	kvm_fake_script(KVM_CHECK_EXTENSION, has_device_ids);
	cr_assert(msi_routes_new(5, &routes, &err) == 0, "%s", err.msg);
	cr_assert(msi_group_init(&group, routes, slot, count, &err) == 0, "%s", err.msg);
	port = msi_group_port(&group);
}

static void free_group(void)
{
	msi_group_destroy(&group);
	msi_group_destroy(&group);
	msi_routes_free(routes);
	msi_routes_free(NULL);
}

static void set(unsigned vector, uint64_t address, uint32_t data)
{
	port.route(port.arg, vector, address, data);
}

Test(msi, each_vector_has_a_gsi_of_its_slot_and_an_eventfd)
{
	unsigned fds = kvm_fake_open_fds();
	eventfd_t count = 0;

	kvm_fake_script(KVM_IRQFD, see_gsi);
	make_group(31, 3);
	cr_assert_eq(irqfd_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(irqfd_gsis[i], arch_pci.msi_gsi + 30 * 33 + i);
	}
	port.send(port.arg, 1);
	port.send(port.arg, 1);
	cr_expect(eventfd_read(group.eventfds[1], &count) == 0 && count == 2);
	cr_expect(eventfd_read(group.eventfds[0], &count) == -1);
	free_group();
	cr_expect_eq(kvm_fake_open_fds(), fds);
}

static unsigned unbound;

static int see_unbound(int fd, unsigned long request, void *arg)
{
	const struct kvm_irqfd *irqfd = arg;

	(void)fd;
	(void)request;
	unbound += (irqfd->flags & KVM_IRQFD_FLAG_DEASSIGN) != 0 &&
		   irqfd->gsi == arch_pci.msi_gsi + 33 + unbound;
	return 0;
}

Test(msi, the_vectors_of_a_group_can_be_taken_from_kvm)
{
	make_group(2, 3);
	kvm_fake_script(KVM_IRQFD, see_unbound);
	msi_group_unbind(&group);
	cr_expect_eq(unbound, 3);
	/* The next group of the slot: its messages take the places of the old ones. */
	set(0, 0xfee00000, 1);
	unsigned nr = table.head.nr;
	struct error err = {0};

	msi_group_destroy(&group);
	cr_assert_eq(msi_group_init(&group, routes, 2, 3, &err), 0);
	set(0, 0xfee00000, 2);
	cr_expect(table.head.nr == nr && table.entries[nr - 1].u.msi.data == 2);
	free_group();
}

Test(msi, the_table_has_the_pins_and_a_message_for_each_gsi)
{
	make_group(2, 3);
	cr_expect_eq(kvm_fake_count(KVM_SET_GSI_ROUTING), 0, "KVM's own table does until then");
	set(1, UINT64_C(0x1fee00000), 0x4021);
	set(0, 0xfee01000, 7);
	cr_expect_eq(kvm_fake_count(KVM_SET_GSI_ROUTING), 2);
	cr_assert_eq(table.head.nr, 3);
	cr_expect(table.entries[0].type == KVM_IRQ_ROUTING_IRQCHIP && table.entries[0].gsi == 5);
	cr_expect_eq(table.entries[1].type, KVM_IRQ_ROUTING_MSI);
	cr_expect_eq(table.entries[1].gsi, arch_pci.msi_gsi + 33 + 1);
	cr_expect_eq(table.entries[1].flags, 0);
	cr_expect_eq(table.entries[1].u.msi.address_lo, 0xfee00000);
	cr_expect_eq(table.entries[1].u.msi.address_hi, 1);
	cr_expect_eq(table.entries[1].u.msi.data, 0x4021);
	cr_expect_eq(table.entries[2].gsi, arch_pci.msi_gsi + 33);
	free_group();
}

Test(msi, a_change_is_one_call_and_the_same_message_is_none)
{
	make_group(1, 1);
	for (unsigned i = 0; i < 1000; i++) {
		set(0, 0xfee00000, i / 2);
	}
	cr_expect_eq(kvm_fake_count(KVM_SET_GSI_ROUTING), 500);
	cr_expect_eq(table.head.nr, 2, "it does not grow");
	free_group();
}

Test(msi, kvm_is_told_whose_message_it_is_where_it_asks)
{
	device_ids = 1;
	make_group(9, 1);
	set(0, 0x3ffd0040, 0);
	cr_expect_eq(table.entries[1].flags, KVM_MSI_VALID_DEVID);
	cr_expect_eq(table.entries[1].u.msi.devid, 9 << 3);
	free_group();
}

Test(msi, a_message_to_a_frame_is_the_pin_that_it_becomes)
{
	arch_fake_frame = (struct arch_msi_frame){.base = 0x1000, .count = 4};
	make_group(1, 1);
	set(0, 0x1000, 3);
	set(0, 0x1000, 3);
	cr_expect_eq(kvm_fake_count(KVM_SET_GSI_ROUTING), 1);
	cr_assert_eq(table.head.nr, 2);
	cr_expect_eq(table.entries[1].type, KVM_IRQ_ROUTING_IRQCHIP);
	cr_expect_eq(table.entries[1].gsi, arch_pci.msi_gsi);
	cr_expect_eq(table.entries[1].u.irqchip.pin, 3);
	/* The same bits, as a message that is none of the frame's. */
	set(0, UINT64_C(3) << 32, 0);
	cr_expect_eq(kvm_fake_count(KVM_SET_GSI_ROUTING), 2);
	cr_expect_eq(table.entries[1].type, KVM_IRQ_ROUTING_MSI);
	free_group();
}

Test(msi, what_kvm_refuses_leaves_the_table_as_it_was)
{
	int log = capture_log(LOG_INFO);

	make_group(4, 2);
	set(0, 1, 1);
	kvm_fake_fail(KVM_SET_GSI_ROUTING, 1, EINVAL);
	set(1, 2, 2);
	cr_expect_not_null(strstr(captured(log), "Interrupt 1 of the PCI device 00:04"), "%s",
			   captured(log));
	kvm_fake_fail(KVM_SET_GSI_ROUTING, 1, EINVAL);
	set(0, 3, 3);
	set(1, 4, 4);
	cr_assert_eq(table.head.nr, 3);
	cr_expect_eq(table.entries[1].u.msi.data, 1);
	cr_expect_eq(table.entries[2].u.msi.data, 4);
	free_group();
}

Test(msi, a_group_that_fails_leaks_nothing)
{
	struct error err = {0};
	unsigned fds = kvm_fake_open_fds();

	cr_assert(msi_routes_new(5, &routes, &err) == 0);
	kvm_fake_fail(KVM_IRQFD, 3, EMFILE);
	cr_expect(msi_group_init(&group, routes, 1, 4, &err) == -1 && err.sys == EMFILE);
	cr_expect(group.count == 0 && kvm_fake_open_fds() == fds);
	free_group();
}
