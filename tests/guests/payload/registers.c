/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: every register of every fixed device bears reads and writes of each width, wide ones
 * read 0 where the device knows bytes or words only, and where there is no device 0 is read.
 * Output: a line per device and "registers: ok" (or "registers: wrong"); exit status 0.
 */
#include "tests/guests/payload/guest.h"

enum {
	REG_DATA = 0,
	REG_IER = 1,
	REG_LCR = 3,
	REG_MCR = 4,
	LCR_8_BITS = 0x03,
};

static const uint64_t values[] = {0, UINT64_C(0x5a5a5a5a5a5a5a5a), UINT64_MAX};

static void write_values(const struct window *window, unsigned offset, unsigned width)
{
	if (window->is_serial && offset == REG_DATA && width == 1) {
		return;
	}
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		window_write(window, offset, width, values[i]);
	}
}

/* Returns how many reads were wrong. */
static unsigned try_window(const struct window *window)
{
	unsigned wrong = 0;

	for (unsigned offset = 0; offset < window->len; offset++) {
		for (unsigned width = 1; width <= window->width_max; width *= 2) {
			/* A device's memory bears aligned accesses only, on aarch64. */
			if (offset % width != 0) {
				continue;
			}
			write_values(window, offset, width);
			uint64_t value = window_read(window, offset, width);

			if (width != window->answer_width && value != 0) {
				wrong++;
			}
		}
	}
	return wrong;
}

void guest_main(void)
{
	unsigned wrong_total = 0;

	for (size_t i = 0; i < window_count; i++) {
		unsigned wrong = try_window(&windows[i]);

		if (windows[i].is_serial) {
			serial_out(REG_LCR, LCR_8_BITS);
			serial_out(REG_IER, 0);
			serial_out(REG_MCR, 0);
		}
		print(windows[i].name);
		print(": ");
		print_number(wrong);
		print(" wrong\n");
		wrong_total += wrong;
	}
	print(wrong_total == 0 ? "registers: ok\n" : "registers: wrong\n");
}
