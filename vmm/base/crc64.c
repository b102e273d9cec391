/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-64 by a table of 256 entries, which takes less time to make than a page of bytes. */
#include "vmm/base/crc64.h"

static const uint64_t polynomial = UINT64_C(0x95ac9329ac4bc9b5); /* reflected */

static uint64_t crc_of_byte(uint64_t crc)
{
	for (int bit = 0; bit < 8; bit++) {
		crc = (crc & 1) != 0 ? crc >> 1 ^ polynomial : crc >> 1;
	}
	return crc;
}

uint64_t crc64(const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;
	uint64_t table[256];
	uint64_t crc = 0;

	for (unsigned i = 0; i < 256; i++) {
		table[i] = crc_of_byte(i);
	}
	for (size_t i = 0; i < len; i++) {
		crc = table[(crc ^ byte[i]) & 0xff] ^ crc >> 8;
	}
	return crc;
}
