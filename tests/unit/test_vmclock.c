/* SPDX-License-Identifier: Apache-2.0 */
/* VMClock: the page as its readers know it, its counters over loads, whatever a guest wrote. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/platform/vmclock.h"
#include "tests/lib/ram.h"
#include "vmm/base/bytes.h"

enum {
	AT = 0x8000,
	SEQ_COUNT = 12,
	DISRUPTION_MARKER = 16,
	FLAGS = 24,
	CLOCK = 32,
	VM_GENERATION_COUNTER = 104,
	USED = 112,
};

static struct gmem *mem;
static uint8_t page[VMCLOCK_LEN];
static uint32_t seq_count_at_edge;
static unsigned edges;

static void read_page(void)
{
	cr_assert_eq(gmem_read(mem, GPA(AT), page, sizeof(page)), 0);
}

/* The interrupt comes when the page is whole. */
static void on_edge(void *arg)
{
	(void)arg;
	edges++;
	read_page();
	seq_count_at_edge = load_le32(page + SEQ_COUNT);
}

static void set_up(void)
{
	mem = new_ram(MIB);
}

static void tear_down(void)
{
	gmem_free(mem);
}

TestSuite(vmclock, .init = set_up, .fini = tear_down);

static struct vmclock *make(void)
{
	const struct dev_env env = {.mem = mem, .irq = {.fire = on_edge}};
	struct vmclock *vmclock = NULL;
	struct error err = {0};

	cr_assert_eq(vmclock_new(&env, GPA(AT), &vmclock, &err), 0, "%s", err.msg);
	return vmclock;
}

static void load(const struct vmclock_state *state, struct vmclock_state *next)
{
	struct vmclock *vmclock = make();
	struct error err = {0};

	cr_assert_eq(vmclock_load(vmclock, state, &err), 0, "%s", err.msg);
	vmclock_save(vmclock, next);
	vmclock_free(vmclock);
	read_page();
}

static void expect_constants(void)
{
	static const uint8_t head[] = {'V', 'C', 'L', 'K', 0, 0x10, 0, 0, 1, 0, 0xff, 0};
	static const uint8_t nothing[VM_GENERATION_COUNTER - CLOCK];

	cr_expect_arr_eq(page, head, sizeof(head));
	cr_expect_eq(load_le64(page + FLAGS), 0x300);
	cr_expect_arr_eq(page + CLOCK, nothing, sizeof(nothing));
}

Test(vmclock, a_machine_that_boots_has_counters_of_zero_and_no_clock)
{
	struct vmclock *vmclock = make();

	read_page();
	expect_constants();
	cr_expect_eq(load_le32(page + SEQ_COUNT), 0);
	cr_expect_eq(load_le64(page + DISRUPTION_MARKER), 0);
	cr_expect_eq(load_le64(page + VM_GENERATION_COUNTER), 0);
	cr_expect_eq(edges, 0);
	vmclock_free(vmclock);
}

Test(vmclock, each_load_counts_one_up_and_interrupts_when_the_page_is_whole)
{
	struct vmclock *vmclock = make();
	struct vmclock_state state = {0};

	vmclock_save(vmclock, &state);
	vmclock_free(vmclock);
	for (unsigned i = 1; i <= 5; i++) {
		load(&state, &state);
		expect_constants();
		cr_expect_eq(edges, i);
		cr_expect_eq(seq_count_at_edge, 2 * i);
		cr_expect_eq(load_le32(page + SEQ_COUNT), 2 * i);
		cr_expect_eq(load_le64(page + DISRUPTION_MARKER), i);
		cr_expect_eq(load_le64(page + VM_GENERATION_COUNTER), i);
	}
}

/* Else two loads of one snapshot could differ by what its guest wrote. */
Test(vmclock, what_the_guest_wrote_to_its_page_does_not_count)
{
	const struct vmclock_state saved = {
		.at = AT, .seq_count = 6, .disruption_marker = 7, .vm_generation_counter = 8};
	struct vmclock_state next;

	memset(page, 0xa5, sizeof(page));
	cr_assert_eq(gmem_write(mem, GPA(AT), page, sizeof(page)), 0);
	load(&saved, &next);
	expect_constants();
	cr_expect_eq(load_le32(page + SEQ_COUNT), 8);
	cr_expect_eq(load_le64(page + DISRUPTION_MARKER), 8);
	cr_expect_eq(load_le64(page + VM_GENERATION_COUNTER), 9);
	cr_expect_eq(page[USED], 0xa5, "the rest of the page is left alone");
	cr_expect(next.seq_count == 8 && next.disruption_marker == 8 &&
		  next.vm_generation_counter == 9);
}

Test(vmclock, any_numbers_of_a_file_give_a_page_that_readers_accept)
{
	static const struct {
		struct vmclock_state saved;
		uint32_t seq_count;
	} cases[] = {
		{{.at = AT, .seq_count = 5}, 6},
		{{.at = AT, .seq_count = UINT32_MAX}, 0},
		{{.at = AT,
		  .seq_count = UINT32_MAX - 1,
		  .disruption_marker = UINT64_MAX,
		  .vm_generation_counter = UINT64_MAX},
		 0},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vmclock_state next;

		load(&cases[i].saved, &next);
		cr_expect_eq(load_le32(page + SEQ_COUNT), cases[i].seq_count, "case %zu", i);
		cr_expect_eq(load_le64(page + DISRUPTION_MARKER),
			     cases[i].saved.disruption_marker + 1, "case %zu", i);
	}
}

Test(vmclock, a_page_that_the_guest_looks_for_elsewhere_is_refused)
{
	const struct vmclock_state state = {.at = 0};
	struct vmclock *vmclock = make();
	struct error err = {0};

	cr_expect_eq(vmclock_load(vmclock, &state, &err), -1);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_str_eq(err.msg, "The VMClock page was at 0x0, and is at 0x8000 now");
	cr_expect_eq(edges, 0);
	vmclock_free(vmclock);
}

Test(vmclock, too_little_memory_is_an_error)
{
	const struct dev_env env = {.mem = mem};
	struct vmclock *vmclock = NULL;
	struct error err = {0};

	cr_expect_eq(vmclock_new(&env, GPA(MIB), &vmclock, &err), -1);
	cr_expect_eq(err.kind, ERR_BAD_REQUEST);
	cr_expect_null(vmclock);
}
