/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the machine's fixed devices, one explicit call each, in the order of the architecture's
 * table. */
#include "vmm/devmgr.h"

#include "vmm/base/bytes.h"

static void reset(void *machine)
{
	vm_signal_end(machine, VM_RESET, "");
}

static const struct machine_ops machine_ops = {.reset = reset};

static void on_boot_timer(void *arg)
{
	struct devmgr *devmgr = arg;

	/* Once: a guest that pokes on must not fill the log. */
	if (!atomic_exchange(&devmgr->has_booted, true)) {
		timeline_log_boot(devmgr->vm->timeline);
	}
}

static void list_metrics(struct devmgr *devmgr, struct metric_source *source,
			 const struct metric_group *group, void *values)
{
	if (devmgr->vm->metrics != NULL) {
		metrics_add(devmgr->vm->metrics, source, group, values);
	}
}

static int make_serial(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
		       struct error *err)
{
	struct serial_config config = console_serial_config(devmgr->console);

	if (serial_new(env, &config, &devmgr->serial, err) < 0) {
		return -1;
	}
	list_metrics(devmgr, &devmgr->serial_source, &serial_metric_group,
		     serial_metrics(devmgr->serial));
	range->ops = &serial_bus_ops;
	range->device = devmgr->serial;
	return 0;
}

static int make_i8042(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
		      struct error *err)
{
	if (i8042_new(env, &devmgr->i8042, err) < 0) {
		return -1;
	}
	list_metrics(devmgr, &devmgr->i8042_source, &i8042_metric_group,
		     i8042_metrics(devmgr->i8042));
	range->ops = &i8042_bus_ops;
	range->device = devmgr->i8042;
	return 0;
}

static int make_rtc_pl031(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
			  struct error *err)
{
	if (rtc_pl031_new(env, &devmgr->rtc, err) < 0) {
		return -1;
	}
	list_metrics(devmgr, &devmgr->rtc_source, &rtc_pl031_metric_group,
		     rtc_pl031_metrics(devmgr->rtc));
	range->ops = &rtc_pl031_bus_ops;
	range->device = devmgr->rtc;
	return 0;
}

static int make_boot_timer(struct devmgr *devmgr, const struct dev_env *env,
			   struct bus_range *range, struct error *err)
{
	struct boot_timer_config config = {.fired = on_boot_timer, .arg = devmgr};

	(void)env;
	if (boot_timer_new(&config, &devmgr->boot_timer, err) < 0) {
		return -1;
	}
	range->ops = &boot_timer_bus_ops;
	range->device = devmgr->boot_timer;
	return 0;
}

/* A constructor fills in ops and device of the range that it is to be attached at. */
static const struct {
	const char *name;
	int (*make)(struct devmgr *devmgr, const struct dev_env *env, struct bus_range *range,
		    struct error *err);
} platform_kinds[] = {
	[PLATFORM_SERIAL] = {"serial port", make_serial},
	[PLATFORM_I8042] = {"i8042 controller", make_i8042},
	[PLATFORM_RTC_PL031] = {"PL031 clock", make_rtc_pl031},
	[PLATFORM_BOOT_TIMER] = {"boot timer", make_boot_timer},
};

struct dev_env devmgr_env(const struct devmgr *devmgr)
{
	return (struct dev_env){
		.mem = devmgr->vm->mem,
		.loop = devmgr->loop,
		.clock = &clock_host,
		.machine_ops = &machine_ops,
		.machine = devmgr->vm,
	};
}

static int attach(struct devmgr *devmgr, const struct platform_dev *dev, struct error *err)
{
	struct vm *vm = devmgr->vm;
	struct bus_range range = {.base = dev->base, .len = dev->len};
	struct dev_env env = devmgr_env(devmgr);

	if (dev->gsi != PLATFORM_NO_GSI) {
		struct gsi_line *line = &devmgr->lines[devmgr->line_count];

		if (gsi_line_init(line, vm->vm_fd, (uint32_t)dev->gsi, err) < 0) {
			return -1;
		}
		devmgr->line_count++;
		env.irq = gsi_irq_line(line);
	}
	if (platform_kinds[dev->kind].make(devmgr, &env, &range, err) < 0) {
		return -1;
	}
	return bus_attach(dev->bus == BUS_PIO ? &vm->pio : &vm->mmio, &range, err);
}

static bool is_wanted(const struct devmgr *devmgr, const struct platform_dev *dev,
		      const struct cmdline *cmdline)
{
	if (dev->kind == PLATFORM_BOOT_TIMER) {
		return devmgr->has_boot_timer;
	}
	return !dev->needs_console || cmdline_has(cmdline, "console=");
}

int devmgr_attach_platform(struct devmgr *devmgr, struct cmdline *cmdline, struct boot_info *boot,
			   struct error *err)
{
	size_t count;
	const struct platform_dev *slots = arch_platform_slots(&count);

	for (size_t i = 0; i < count; i++) {
		char text[64];

		if (!is_wanted(devmgr, &slots[i], cmdline)) {
			continue;
		}
		arch_platform_cmdline(&slots[i], text, sizeof(text));
		if (attach(devmgr, &slots[i], err) < 0 || cmdline_add(cmdline, text, err) < 0) {
			return error_wrap(err, "Cannot attach the %s",
					  platform_kinds[slots[i].kind].name);
		}
		boot->devs[boot->dev_count++] = slots[i];
	}
	return 0;
}

void devmgr_destroy(struct devmgr *devmgr)
{
	if (devmgr->vm == NULL) {
		return;
	}
	devmgr_destroy_virtio(devmgr);
	metrics_remove(devmgr->vm->metrics, &devmgr->serial_source);
	metrics_remove(devmgr->vm->metrics, &devmgr->i8042_source);
	metrics_remove(devmgr->vm->metrics, &devmgr->rtc_source);
	serial_free(devmgr->serial);
	i8042_free(devmgr->i8042);
	rtc_pl031_free(devmgr->rtc);
	boot_timer_free(devmgr->boot_timer);
	while (devmgr->line_count > 0) {
		gsi_line_destroy(&devmgr->lines[--devmgr->line_count]);
	}
	*devmgr = (struct devmgr){0};
}
