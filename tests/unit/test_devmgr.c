/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/devmgr.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "tests/lib/ram.h"
#include "vmm/base/bytes.h"
#include "vmm/machine/devmgr.h"

static struct timeline timeline;
static struct vm vm;
static struct console console;
static struct evloop loop;
static struct boot_info boot;
static struct cmdline cmdline;
static struct kvm_irqfd irqfds[8];
static unsigned irqfd_count;

static int see_irqfd(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)request;
	memcpy(&irqfds[irqfd_count++ % 8], arg, sizeof(irqfds[0]));
	return 0;
}

static int attach(struct devmgr *devmgr, const char *boot_args, bool has_boot_timer,
		  struct error *err)
{
	struct vm_params params = {
		.machine = {.vcpu_count = 1}, .mem = new_ram(MIB), .timeline = &timeline};
	const struct attachment at = {devmgr, &cmdline, &boot};

	*devmgr = (struct devmgr){
		.vm = &vm, .loop = &loop, .console = &console, .has_boot_timer = has_boot_timer};
	boot = (struct boot_info){0};
	cr_assert(vm_init(&vm, &params, err) == 0, "%s", err->msg);
	cr_assert(cmdline_init(&cmdline, boot_args, err) == 0);
	kvm_fake_script(KVM_IRQFD, see_irqfd);
	irqfd_count = 0;
	return devmgr_attach_platform(&at, err);
}

static void end(struct devmgr *devmgr)
{
	devmgr_destroy(devmgr);
	vm_destroy(&vm);
}

Test(devmgr, devices_come_in_the_order_of_the_table_if_they_are_wanted)
{
	static const struct {
		const char *boot_args;
		bool has_boot_timer;
		size_t count;
		enum platform_kind kinds[4]; /* then generation id and clock page, always */
		const char *cmdline;
	} cases[] = {
		{"console=ttyS0",
		 true,
		 4,
		 {PLATFORM_BOOT_TIMER, PLATFORM_SERIAL, PLATFORM_I8042, PLATFORM_RTC_PL031},
		 "console=ttyS0 fake.serial"},
		{"quiet console=ttyS0",
		 false,
		 3,
		 {PLATFORM_SERIAL, PLATFORM_I8042, PLATFORM_RTC_PL031},
		 "quiet console=ttyS0 fake.serial"},
		{"quiet", false, 2, {PLATFORM_I8042, PLATFORM_RTC_PL031}, "quiet"},
		{"quiet -- console=ttyS0", false, 2, {PLATFORM_I8042, PLATFORM_RTC_PL031}, "quiet"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		static struct devmgr devmgr;
		struct error err = {0};

		cr_assert(attach(&devmgr, cases[i].boot_args, cases[i].has_boot_timer, &err) == 0,
			  "%s", err.msg);
		cr_expect(boot.dev_count == cases[i].count + 2, "case %zu: %zu", i, boot.dev_count);
		for (size_t j = 0; j < cases[i].count; j++) {
			cr_expect(boot.devs[j].kind == cases[i].kinds[j], "case %zu, %zu", i, j);
		}
		cr_expect(boot.devs[cases[i].count].kind == PLATFORM_VMGENID &&
			  boot.devs[cases[i].count + 1].kind == PLATFORM_VMCLOCK);
		cr_expect_str_eq(cmdline.kernel, cases[i].cmdline);
		cr_expect(vm.pio.count + vm.mmio.count == cases[i].count, "case %zu", i);
		end(&devmgr);
	}
}

Test(devmgr, interrupt_lines_are_bound_to_their_gsis)
{
	static struct devmgr devmgr;
	struct error err = {0};
	eventfd_t count = 0;
	uint8_t enable = 0x02;

	cr_assert(attach(&devmgr, "console=ttyS0", false, &err) == 0, "%s", err.msg);
	cr_assert(irqfd_count == 4 && irqfds[0].gsi == 4 && irqfds[1].gsi == 1);
	cr_assert(irqfds[2].gsi == 14 && irqfds[3].gsi == 15);
	/* The UART's "transmitter empty" arises when it is enabled. */
	cr_assert(bus_write(&vm.pio, 0x3f9, &enable, 1));
	cr_assert(eventfd_read((int)irqfds[0].fd, &count) == 0 && count == 1);
	cr_assert(eventfd_read((int)irqfds[1].fd, &count) == -1);
	end(&devmgr);
}

Test(devmgr, the_keyboard_controller_can_reset_the_machine)
{
	static struct devmgr devmgr;
	struct error err = {0};
	uint8_t reset = 0xfe;

	cr_assert(attach(&devmgr, "", false, &err) == 0, "%s", err.msg);
	cr_assert(bus_write(&vm.pio, 0x64, &reset, 1));
	cr_assert(vm.end == VM_RESET);
	end(&devmgr);
}

Test(devmgr, the_boot_timer_is_told_once)
{
	static struct devmgr devmgr;
	struct error err = {0};
	int log = capture_log(LOG_INFO);
	uint8_t magic = 123;

	cr_assert(attach(&devmgr, "", true, &err) == 0, "%s", err.msg);
	for (int i = 0; i < 5; i++) {
		cr_assert(bus_write(&vm.mmio, 0xc0000000, &magic, 1));
	}
	cr_assert(count_of(captured(log), "Guest-boot-time") == 1, "%s", captured(log));
	end(&devmgr);
}

Test(devmgr, a_failure_names_the_device_and_leaks_nothing)
{
	static struct devmgr devmgr;
	static const char *const names[] = {
		"Cannot attach the serial port: ", "Cannot attach the i8042 controller: ",
		"Cannot attach the VM generation id: ", "Cannot attach the VMClock: "};
	unsigned fds = kvm_fake_open_fds();

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct error err = {0};

		kvm_fake_fail(KVM_IRQFD, i + 1, EEXIST);
		cr_expect(attach(&devmgr, "console=ttyS0", true, &err) == -1);
		cr_expect(strncmp(err.msg, names[i], strlen(names[i])) == 0, "%s", err.msg);
		end(&devmgr);
		cr_expect(kvm_fake_open_fds() == fds);
	}
	char long_args[ARCH_CMDLINE_MAX];
	struct error err = {0};

	memset(long_args, 'a', sizeof(long_args) - 1);
	memcpy(long_args, "console= ", 9);
	long_args[sizeof(long_args) - 1] = '\0';
	kvm_fake_fail(KVM_IRQFD, 0, 0);
	cr_expect(attach(&devmgr, long_args, true, &err) == -1);
	cr_expect(err.kind == ERR_TOO_LARGE, "%s", err.msg);
	end(&devmgr);
	end(&devmgr);
	cr_expect(kvm_fake_open_fds() == fds);
}
