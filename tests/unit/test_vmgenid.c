/* SPDX-License-Identifier: Apache-2.0 */
/* The VM generation id: fresh bytes in guest memory, an interrupt after a load and never else. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/platform/vmgenid.h"
#include "tests/lib/ram.h"
#include "vmm/base/bytes.h"

enum {
	AT = 0x9ff0
};

static struct gmem *mem;
static unsigned edges;

static void count(void *arg)
{
	(*(unsigned *)arg)++;
}

static void set_up(void)
{
	mem = new_ram(MIB);
	edges = 0;
}

static void tear_down(void)
{
	gmem_free(mem);
}

TestSuite(vmgenid, .init = set_up, .fini = tear_down);

static struct vmgenid *make(void)
{
	const struct dev_env env = {.mem = mem, .irq = {.fire = count, .arg = &edges}};
	struct vmgenid *vmgenid = NULL;
	struct error err = {0};

	cr_assert_eq(vmgenid_new(&env, GPA(AT), &vmgenid, &err), 0, "%s", err.msg);
	return vmgenid;
}

static void read_id(uint8_t id[VMGENID_LEN])
{
	cr_assert_eq(gmem_read(mem, GPA(AT), id, VMGENID_LEN), 0);
}

Test(vmgenid, each_machine_has_an_id_of_its_own)
{
	uint8_t ids[3][VMGENID_LEN] = {{0}};

	for (size_t i = 1; i < ARRAY_COUNT(ids); i++) {
		vmgenid_free(make());
		read_id(ids[i]);
	}
	cr_expect_neq(memcmp(ids[1], ids[0], VMGENID_LEN), 0, "zeroes");
	cr_expect_neq(memcmp(ids[2], ids[1], VMGENID_LEN), 0, "the same twice");
	cr_expect_eq(edges, 0, "a guest that boots is not told of a change");
}

Test(vmgenid, only_its_own_bytes_are_written)
{
	uint8_t around[VMGENID_LEN + 2];

	memset(around, 0xee, sizeof(around));
	cr_assert_eq(gmem_write(mem, GPA(AT - 1), around, sizeof(around)), 0);
	vmgenid_free(make());
	cr_assert_eq(gmem_read(mem, GPA(AT - 1), around, sizeof(around)), 0);
	cr_expect(around[0] == 0xee && around[VMGENID_LEN + 1] == 0xee);
}

Test(vmgenid, a_load_changes_the_id_and_interrupts_once)
{
	struct vmgenid *vmgenid = make();
	struct vmgenid_state state = {0};
	uint8_t old[VMGENID_LEN];
	uint8_t new[VMGENID_LEN];
	struct error err = {0};

	read_id(old);
	vmgenid_save(vmgenid, &state);
	cr_expect_eq(edges, 0, "saving is no event");
	vmgenid_free(vmgenid);
	vmgenid = make(); /* in the memory that was saved */
	cr_assert_eq(vmgenid_load(vmgenid, &state, &err), 0, "%s", err.msg);
	read_id(new);
	cr_expect_neq(memcmp(old, new, sizeof(old)), 0);
	cr_expect_eq(edges, 1);
	vmgenid_free(vmgenid);
}

Test(vmgenid, an_id_that_the_guest_looks_for_elsewhere_is_refused)
{
	const struct vmgenid_state state = {.at = AT + 16};
	struct vmgenid *vmgenid = make();
	struct error err = {0};

	cr_expect_eq(vmgenid_load(vmgenid, &state, &err), -1);
	cr_expect_eq(err.kind, ERR_CORRUPT);
	cr_expect_str_eq(err.msg, "The generation id was at 0xa000, and is at 0x9ff0 now");
	cr_expect_eq(edges, 0);
	vmgenid_free(vmgenid);
}

Test(vmgenid, too_little_memory_is_an_error)
{
	const struct dev_env env = {.mem = mem};
	struct vmgenid *vmgenid = NULL;
	struct error err = {0};

	cr_expect_eq(vmgenid_new(&env, GPA(MIB - 8), &vmgenid, &err), -1);
	cr_expect_eq(err.kind, ERR_BAD_REQUEST);
	cr_expect_null(vmgenid);
}
