/* SPDX-License-Identifier: Apache-2.0 */
/* The boot timer: only the magic byte at offset 0 counts. */
#include <criterion/criterion.h>

#include "devices/platform/boot_timer.h"
#include "vmm/base/bytes.h"

static unsigned fired;
static struct boot_timer *timer;

static void count(void *arg)
{
	(*(unsigned *)arg)++;
}

static void set_up(void)
{
	struct boot_timer_config config = {.fired = count, .arg = &fired};
	struct error err = {0};

	fired = 0;
	cr_assert_eq(boot_timer_new(&config, &timer, &err), 0, "%s", err.msg);
}

static void tear_down(void)
{
	boot_timer_free(timer);
	timer = NULL;
}

TestSuite(boot_timer, .init = set_up, .fini = tear_down);

Test(boot_timer, fires_for_the_magic_byte_only)
{
	for (unsigned offset = 0; offset < 5; offset++) {
		for (uint32_t len = 1; len <= 8; len++) {
			for (unsigned value = 0; value < 256; value++) {
				uint8_t data[8] = {(uint8_t)value};

				fired = 0;
				boot_timer_bus_ops.write(timer, offset, data, len);
				cr_assert_eq(fired, offset == 0 && len == 1 && value == 123,
					     "offset %u, %u bytes, value %u", offset, len, value);
			}
		}
	}
}

Test(boot_timer, fires_each_time)
{
	const uint8_t magic = 123;

	boot_timer_bus_ops.write(timer, 0, &magic, 1);
	boot_timer_bus_ops.write(timer, 0, &magic, 1);
	cr_assert_eq(fired, 2);
	boot_timer_bus_ops.write(timer, UINT64_MAX, &magic, 1);
	cr_assert_eq(fired, 2);
}

Test(boot_timer, reads_zero)
{
	static const uint64_t offsets[] = {0, 1, 0xfff, UINT64_MAX};

	for (size_t i = 0; i < ARRAY_COUNT(offsets); i++) {
		for (uint32_t len = 1; len <= 8; len++) {
			uint8_t data[8] = {0};

			boot_timer_bus_ops.read(timer, offsets[i], data, len);
			cr_assert_eq(load_le64(data), 0);
		}
	}
	cr_assert_eq(fired, 0);
}
