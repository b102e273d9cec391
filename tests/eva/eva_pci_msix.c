/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function with any number of vectors: a guest that writes the control and accesses table and
 * pending bits anywhere, by up to 8 bytes, vectors that are raised meanwhile, and any saved state.
 */
#include "tests/eva/atomic.h"
#include "tests/eva/codec.h"
#include "tests/eva/error.h"

#include "devices/pci/msix.c"

static void route(void *arg, unsigned vector, uint64_t address, uint32_t data)
{
	keep((uint64_t)(arg != NULL) + vector + address % 2 + data % 2);
}

static void send(void *arg, unsigned vector)
{
	keep((uint64_t)(arg != NULL) + vector);
}

static struct msix msix;

/* Each place in an entry and each length apart, so that EVA knows how they lie to each other. */
static void access_table(void)
{
	uint8_t data[8];

	fill(data, sizeof(data));
	for (uint64_t at = 0; at < MSIX_ENTRY_LEN; at++) {
		for (uint32_t len = 0; len <= sizeof(data); len++) {
			uint64_t offset = any_between(0, UINT64_MAX >> 4) * MSIX_ENTRY_LEN + at;

			msix_write_table(&msix, offset, data, len);
			msix_read_table(&msix, offset, data, len);
			msix_read_pending(&msix, at, data, len);
		}
	}
	msix_read_pending(&msix, any_between(MSIX_ENTRY_LEN, UINT64_MAX), data, 8);
	keep(data[0]);
}

static void renew(void)
{
	struct msix_state state;
	struct error err = {0};

	msix_save(&msix, &state);
	keep(state.count);
	fill(&state, sizeof(state));
	msix_state_codec(NULL, &state);
	(void)!msix_load(&msix, &state, &err);
}

void main(void)
{
	const struct msi_port port = {.route = route, .send = send};
	unsigned count = (unsigned)any_between(1, MSIX_VECTORS_MAX);

	msix_init(&msix, count, &port);
	while (any_bool()) {
		msix_write_control(&msix, (uint16_t)any_u32());
		access_table();
		msix_raise(&msix, (unsigned)any_between(0, count - 1));
		if (any_bool()) {
			msix_reset(&msix);
		}
		if (any_bool()) {
			renew();
		}
	}
}
