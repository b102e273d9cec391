/* SPDX-License-Identifier: Apache-2.0 */
/* Implements arch/arch.h for unit tests: two RAM ranges, six fixed devices, a kernel of any
 * bytes. */
#include "tests/fake/arch_fake.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/boot.h"
#include "arch/debug.h"
#include "arch/device_memory.h"
#include "arch/pci.h"
#include "arch/state.h"
#include "arch/template.h"
#include "vmm/base/bytes.h"
#include "vmm/base/kvm.h"

static struct {
	const char *failing;
	int alive;
	uint64_t numbers[ARCH_VCPUS_MAX + 1];
	uint8_t regs[ARCH_VCPUS_MAX][8 + 8 + 2];
	struct debug_plan plans[ARCH_VCPUS_MAX];
	unsigned injected;
	unsigned blocked;
} fake;

uint64_t *arch_fake_number(unsigned index)
{
	return &fake.numbers[index];
}

void arch_fake_fail(const char *function)
{
	fake.failing = function;
}

int arch_fake_alive(void)
{
	return fake.alive;
}

static int may_fail(const char *function, struct error *err)
{
	if (fake.failing != NULL && strcmp(fake.failing, function) == 0) {
		return error_set(err, ERR_HOST, "%s was told to fail", function);
	}
	return 0;
}

const char arch_name[] = "fake";
const char *const arch_cpu_templates[] = {"T2", "None", NULL};
const char arch_cmdline_default[] = "reboot=k panic=1";

size_t arch_ram_ranges(uint64_t len, struct gmem_range out[ARCH_RAM_RANGES_MAX])
{
	const uint64_t low = 64 * MIB;

	out[0] = (struct gmem_range){GPA(0), min_u64(len, low)};
	out[1] = (struct gmem_range){GPA(4 * GIB), len - out[0].len};
	if (len > 64 * GIB) {
		return 0;
	}
	return len > low ? 2 : 1;
}

const struct gmem_range arch_device_memory = {{512 * GIB}, 128 * GIB};

unsigned arch_fake_address_bits = 48;

unsigned arch_address_bits(int kvm)
{
	(void)kvm;
	return arch_fake_address_bits;
}

bool arch_fake_shows_registers = true;

bool arch_shows_registers(int vm_fd)
{
	(void)vm_fd;
	return arch_fake_shows_registers;
}

const struct platform_dev *arch_platform_slots(size_t *count)
{
	static const struct platform_dev slots[] = {
		{.kind = PLATFORM_BOOT_TIMER,
		 .bus = BUS_MMIO,
		 .base = 0xc0000000,
		 .len = 0x1000,
		 .gsi = PLATFORM_NO_GSI},
		{.kind = PLATFORM_SERIAL,
		 .bus = BUS_PIO,
		 .base = 0x3f8,
		 .len = 8,
		 .gsi = 4,
		 .needs_console = true},
		{.kind = PLATFORM_I8042, .bus = BUS_PIO, .base = 0x60, .len = 5, .gsi = 1},
		{.kind = PLATFORM_RTC_PL031,
		 .bus = BUS_MMIO,
		 .base = 0xc0001000,
		 .len = 0x1000,
		 .gsi = PLATFORM_NO_GSI},
		{.kind = PLATFORM_VMGENID, .bus = BUS_RAM, .base = 0xdfff0, .len = 16, .gsi = 14},
		{.kind = PLATFORM_VMCLOCK,
		 .bus = BUS_RAM,
		 .base = 0xde000,
		 .len = 0x1000,
		 .gsi = 15},
	};

	*count = ARRAY_COUNT(slots);
	return slots;
}

bool arch_virtio_slot(size_t index, struct platform_dev *dev)
{
	*dev = (struct platform_dev){
		.kind = PLATFORM_VIRTIO_MMIO,
		.bus = BUS_MMIO,
		.base = 0xd0000000 + index * 0x1000,
		.len = 0x1000,
		.gsi = 16 + (int)index,
	};
	return index < ARCH_FAKE_VIRTIO_SLOTS;
}

const struct arch_pci arch_pci = {
	.ecam = 0xe0000000,
	.ecam_len = 0x100000,
	.ports = 0xcf8,
	.window = 256 * GIB,
	.window_len = 256 * GIB,
	.msi_gsi = 24,
};

/* One pin. */
size_t arch_irqchip_routes(struct kvm_irq_routing_entry out[ARCH_IRQCHIP_ROUTES_MAX])
{
	out[0] = (struct kvm_irq_routing_entry){.gsi = 5, .type = KVM_IRQ_ROUTING_IRQCHIP};
	return 1;
}

struct arch_msi_frame arch_fake_frame;

bool arch_msi_frame(const struct arch_vm *vm, struct arch_msi_frame *frame)
{
	(void)vm;
	*frame = arch_fake_frame;
	return frame->count > 0;
}

/* Messages to the frame, if there is one. */
void arch_route_message(struct kvm_irq_routing_entry *route)
{
	uint32_t pin = route->u.msi.data;

	if (arch_fake_frame.count > 0 &&
	    route->u.msi.address_lo == (uint32_t)arch_fake_frame.base) {
		*route = (struct kvm_irq_routing_entry){
			.gsi = route->gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip.pin = pin};
	}
}

int arch_find_template(const char *name, const struct cpu_template **cpu_template,
		       struct error *err)
{
	static const struct cpu_template empty;

	(void)name;
	*cpu_template = &empty;
	return may_fail("arch_find_template", err);
}

int arch_check_host(int kvm, const struct cpu_template *cpu_template, struct error *err)
{
	(void)kvm;
	(void)cpu_template;
	return may_fail("arch_check_host", err);
}

unsigned long arch_vm_type(int kvm)
{
	(void)kvm;
	return 0;
}

int arch_vm_init(struct arch_vm *vm, int kvm, int vm_fd, const struct arch_machine *machine,
		 struct error *err)
{
	(void)kvm;
	if (may_fail("arch_vm_init", err) < 0 ||
	    kvm_call(vm_fd, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP", err) < 0) {
		return -1;
	}
	vm->vm_fd = vm_fd;
	vm->vcpu_count = machine->vcpu_count;
	fake.alive++;
	return 0;
}

int arch_vm_finish(struct arch_vm *vm, struct error *err)
{
	(void)vm;
	return may_fail("arch_vm_finish", err);
}

void arch_vm_destroy(struct arch_vm *vm)
{
	if (vm->vcpu_count > 0) {
		fake.alive--;
	}
	*vm = (struct arch_vm){0};
}

int arch_vcpu_init(struct arch_vcpu *vcpu, struct arch_vm *vm, int fd, unsigned index,
		   struct error *err)
{
	(void)vm;
	vcpu->fd = fd;
	vcpu->index = index;
	return may_fail("arch_vcpu_init", err);
}

const char *boot_protocol_name(enum boot_protocol protocol)
{
	(void)protocol;
	return "the fake boot protocol";
}

_Atomic bool arch_fake_has_loaded;

int arch_load_kernel(struct gmem *mem, int fd, uint64_t len, struct boot_info *boot,
		     struct error *err)
{
	if (may_fail("arch_load_kernel", err) < 0) {
		return -1;
	}
	boot->entry = GPA(MIB);
	boot->kernel_end = GPA(MIB + len);
	int result = gmem_load_file(mem, boot->entry, fd, 0, len, err);

	atomic_store(&arch_fake_has_loaded, true);
	return result;
}

int arch_initrd_place(struct boot_info *boot, uint64_t len, struct error *err)
{
	boot->initrd = GPA(align_up(boot->kernel_end.v, 4096));
	boot->initrd_len = len;
	return may_fail("arch_initrd_place", err);
}

void arch_platform_cmdline(const struct platform_dev *dev, char *buf, size_t len)
{
	if (dev->kind == PLATFORM_VIRTIO_MMIO) {
		snprintf(buf, len, "fake.virtio=%d", dev->gsi);
	} else {
		snprintf(buf, len, "%s", dev->kind == PLATFORM_SERIAL ? "fake.serial" : "");
	}
}

int arch_write_boot_info(const struct arch_vm *vm, struct gmem *mem, const struct boot_info *boot,
			 struct error *err)
{
	(void)vm;
	if (gmem_write(mem, GPA(0x20000), boot->cmdline, strlen(boot->cmdline) + 1) < 0) {
		return error_set(err, ERR_BAD_REQUEST, "The command line does not fit");
	}
	return may_fail("arch_write_boot_info", err);
}

int arch_vcpu_set_boot_state(struct arch_vcpu *vcpu, const struct boot_info *boot,
			     struct error *err)
{
	(void)vcpu;
	(void)boot;
	return may_fail("arch_vcpu_set_boot_state", err);
}

int arch_vcpu_note_pause(struct arch_vcpu *vcpu, struct error *err)
{
	if (may_fail("arch_vcpu_note_pause", err) < 0) {
		return -1;
	}
	return kvm_call(vcpu->fd, KVM_KVMCLOCK_CTRL, NULL, "KVM_KVMCLOCK_CTRL", err);
}

void arch_vcpu_describe_exit(const struct arch_vcpu *vcpu, const struct kvm_run *run,
			     struct text *text)
{
	text_add(text, "exit %u of vCPU %u", run->exit_reason, vcpu->index);
}

/* --- Saving and loading --- */

const uint64_t arch_state_magic = 0x66616b65; /* "fake" */

static void code_number(struct codec *codec, const char *name, uint64_t *number)
{
	const struct codec_section section = {
		.tag = CODEC_TAG('N', 'U', 'M', ' '), .version = 1, .name = name};

	if (codec_section_begin(codec, &section)) {
		codec_u64(codec, "number", number);
		codec_section_end(codec);
	}
}

void arch_vm_state_codec(struct codec *codec, struct arch_vm_state *state)
{
	code_number(codec, "fake VM", &state->number);
}

void arch_vcpu_state_codec(struct codec *codec, struct arch_vcpu_state *state)
{
	code_number(codec, "fake vCPU", &state->number);
}

int arch_vcpu_save(const struct arch_vcpu *vcpu, struct arch_vcpu_state *state, struct error *err)
{
	state->number = fake.numbers[vcpu->index];
	return may_fail("arch_vcpu_save", err);
}

int arch_vm_save(const struct arch_vm *vm, struct arch_vm_state *state, struct error *err)
{
	(void)vm;
	state->number = fake.numbers[ARCH_VCPUS_MAX];
	return may_fail("arch_vm_save", err);
}

int arch_vcpu_load(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state, struct error *err)
{
	fake.numbers[vcpu->index] = state->number;
	return may_fail("arch_vcpu_load", err);
}

int arch_vm_load(struct arch_vm *vm, const struct arch_vm_state *state,
		 const struct arch_load *load, struct error *err)
{
	(void)vm;
	(void)load;
	fake.numbers[ARCH_VCPUS_MAX] = state->number;
	return may_fail("arch_vm_load", err);
}

int arch_vcpu_load_clock(struct arch_vcpu *vcpu, const struct arch_vcpu_state *state,
			 const struct arch_vm_state *vm_state, struct error *err)
{
	(void)vcpu;
	(void)state;
	(void)vm_state;
	return may_fail("arch_vcpu_load_clock", err);
}

unsigned arch_state_explain(int kvm, const struct arch_vcpu_state *state, struct text *lacks)
{
	(void)kvm;
	(void)state;
	(void)lacks;
	return 0;
}

/* --- Debugging: memory is as the guest's physical one, and registers are what tests set --- */

const char debug_architecture[] = "fake";

static const struct debug_field halves[] = {
	{"as_number", "int16", 0, 0}, {"as_bytes", "bytes", 0, 0}, {NULL, NULL, 0, 0}};
static const struct debug_field bits[] = {
	{"F", NULL, 3, 3}, {"LEVEL", NULL, 4, 5}, {NULL, NULL, 0, 0}};
static const struct debug_type types[] = {{"bytes", "int8", 2, NULL, 0},
					  {"halves", NULL, 0, halves, 0},
					  {"fake_flags", NULL, 0, bits, 2},
					  {NULL, NULL, 0, NULL, 0}};
static const struct debug_feature feature = {"squib.fake", NULL};
static const struct debug_feature more = {"squib.fake.more", types};

const struct debug_reg debug_regs[] = {
	{"a", NULL, &feature, 64, 0},
	{"pc", "code_ptr", NULL, 64, 0},
	{"flags", "fake_flags", &more, 16, 0},
};

const size_t debug_reg_count = ARRAY_COUNT(debug_regs);

int debug_get_regs(const struct arch_vcpu *vcpu, uint8_t bytes[DEBUG_BYTES_MAX], struct error *err)
{
	memcpy(bytes, fake.regs[vcpu->index], sizeof(fake.regs[0]));
	return may_fail("debug_get_regs", err);
}

int debug_set_regs(const struct arch_vcpu *vcpu, const uint8_t bytes[DEBUG_BYTES_MAX],
		   struct error *err)
{
	memcpy(fake.regs[vcpu->index], bytes, sizeof(fake.regs[0]));
	return may_fail("debug_set_regs", err);
}

bool debug_translate(const struct arch_vcpu *vcpu, const struct gmem *mem, uint64_t address,
		     gpa_t *gpa, uint64_t *left)
{
	(void)vcpu;
	(void)mem;
	/* Two views of the memory, in the upper half of the address space and in the lower one. */
	*gpa = GPA(address & ~(UINT64_C(1) << 63));
	*left = 4096 - address % 4096;
	return (address >> 62 & 1) == 0;
}

const struct debug_trap debug_trap = {.bytes = {0xb0, 0x0b}, .len = 2};

struct debug_can debug_find_abilities(int kvm)
{
	struct error ignored = {0};

	return (struct debug_can){.debug = kvm_check_extension(kvm, KVM_CAP_SET_GUEST_DEBUG) > 0,
				  .traps = may_fail("debug_trap", &ignored) == 0,
				  .breaks = 2,
				  .watches = 2};
}

bool debug_plan_fits(const struct debug_plan *plan)
{
	return plan->point_count <= 2;
}

const struct debug_plan *arch_fake_plan(unsigned index)
{
	return &fake.plans[index];
}

int debug_apply(const struct arch_vcpu *vcpu, const struct debug_plan *plan, struct error *err)
{
	fake.plans[vcpu->index] = *plan;
	return may_fail("debug_apply", err);
}

unsigned arch_fake_blocked(void)
{
	return fake.blocked;
}

bool debug_block_irqs(const struct arch_vcpu *vcpu, const struct gmem *mem)
{
	(void)vcpu;
	(void)mem;
	fake.blocked++;
	return true;
}

int debug_unblock_irqs(const struct arch_vcpu *vcpu, struct error *err)
{
	(void)vcpu;
	fake.blocked--;
	return may_fail("debug_unblock_irqs", err);
}

/* An exit has its debug_stop_kind as its first 32 bits, then the number of the point. */
int debug_explain(const struct arch_vcpu *vcpu, const struct debug_plan *plan,
		  const struct kvm_debug_exit_arch *exit, struct debug_stop *stop,
		  struct error *err)
{
	uint32_t numbers[2];

	_Static_assert(sizeof(*exit) >= sizeof(numbers), "a kind and a number");
	memcpy(numbers, exit, sizeof(numbers));
	*stop = (struct debug_stop){.kind = numbers[0] % (DEBUG_STOP_GUEST + 1),
				    .address = load_le64(fake.regs[vcpu->index] + 8)};
	stop->point = numbers[1];
	if (stop->kind == DEBUG_STOP_POINT && stop->point >= plan->point_count) {
		stop->kind = DEBUG_STOP_GUEST;
	}
	return may_fail("debug_explain", err);
}

unsigned arch_fake_injected(void)
{
	return fake.injected;
}

int debug_inject(const struct arch_vcpu *vcpu, const struct kvm_debug_exit_arch *exit,
		 struct error *err)
{
	(void)vcpu;
	(void)exit;
	fake.injected++;
	return may_fail("debug_inject", err);
}
