/* SPDX-License-Identifier: Apache-2.0 */
/* Sorted ranges and a binary search. */
#include "vmm/machine/bus.h"

#include <string.h>

#include "vmm/base/bytes.h"

int bus_attach(struct bus *bus, const struct bus_range *range, struct error *err)
{
	size_t at = 0;

	if (bus->count == BUS_RANGES_MAX) {
		return error_set(err, ERR_TOO_LARGE, "The bus has no room for device %d",
				 BUS_RANGES_MAX + 1);
	}
	if (range->len == 0 || range->len - 1 > UINT64_MAX - range->base) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The device at %#llx is empty or ends above 2^64",
				 (unsigned long long)range->base);
	}
	while (at < bus->count && bus->ranges[at].base < range->base) {
		at++;
	}
	const struct bus_range *before = at > 0 ? &bus->ranges[at - 1] : NULL;
	const struct bus_range *after = at < bus->count ? &bus->ranges[at] : NULL;

	if ((before != NULL && range->base - before->base < before->len) ||
	    (after != NULL && after->base - range->base < range->len)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The device at %#llx overlaps another one on the bus",
				 (unsigned long long)range->base);
	}
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->count - at) * sizeof(*range));
	bus->ranges[at] = *range;
	bus->count++;
	return 0;
}

static const struct bus_range *find(const struct bus *bus, uint64_t addr, uint32_t len)
{
	size_t low = 0;
	size_t high = bus->count;

	/* The last range that begins at or below addr is just below `low` at the end. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bus->ranges[mid].base <= addr) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	if (low == 0) {
		return NULL;
	}
	const struct bus_range *range = &bus->ranges[low - 1];
	uint64_t offset = addr - range->base;

	return offset < range->len && len <= range->len - offset ? range : NULL;
}

bool bus_read(const struct bus *bus, uint64_t addr, uint8_t *data, uint32_t len)
{
	const struct bus_range *range = find(bus, addr, len);

	if (range == NULL) {
		return false;
	}
	range->ops->read(range->device, addr - range->base, data, len);
	return true;
}

bool bus_write(const struct bus *bus, uint64_t addr, const uint8_t *data, uint32_t len)
{
	const struct bus_range *range = find(bus, addr, len);

	if (range == NULL) {
		return false;
	}
	range->ops->write(range->device, addr - range->base, data, len);
	return true;
}
