/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pci/v2m.h"

#include <string.h>

#include "vmm/base/bytes.h"

enum {
	TYPER = 0x8, /* first interrupt and their count */
	TYPER_FIRST_SHIFT = 16,
};

/* All else reads as 0, the identification register too: no driver knows quirks of it. */
static void read_frame(void *device, uint64_t offset, uint8_t *data, uint32_t len)
{
	const struct v2m_frame *frame = device;

	memset(data, 0, len);
	if (offset == TYPER && len == sizeof(uint32_t)) {
		store_le32(data, frame->first << TYPER_FIRST_SHIFT | frame->count);
	}
}

static void write_frame(void *device, uint64_t offset, const uint8_t *data, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)len;
}

const struct bus_ops v2m_bus_ops = {.read = read_frame, .write = write_frame};
