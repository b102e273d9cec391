/* SPDX-License-Identifier: Apache-2.0 */
/* Text on the serial port (whose transmitter is always ready: nothing waits) and memory access. */
#include "tests/guests/payload/guest.h"

static void print_digits(uint64_t number, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number > 0);
	print(&digits[at]);
}

void print(const char *text)
{
	for (; *text != '\0'; text++) {
		serial_out(0, (uint8_t)*text);
	}
}

void print_number(uint64_t number)
{
	print_digits(number, 10);
}

void print_hex(uint64_t number)
{
	print("0x");
	print_digits(number, 16);
}

uint64_t memory_read(uint64_t address, unsigned width)
{
	switch (width) {
	case 1:
		return *(volatile uint8_t *)address;
	case 2:
		return *(volatile uint16_t *)address;
	case 4:
		return *(volatile uint32_t *)address;
	default:
		return *(volatile uint64_t *)address;
	}
}

void memory_write(uint64_t address, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		*(volatile uint8_t *)address = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)address = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)address = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)address = value;
		break;
	}
}
