/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of one function.
 *
 * Theory of operation. A vector is open if MSI-X is on and neither the function nor the vector is
 * masked. Who raises one looks at `open`: if it is set the message goes out, by a write to an
 * eventfd. If not, it sets the pending bit and looks again, while who opens a vector sets `open`
 * and then takes the pending bit: whichever comes second finds what the other has left. So no
 * interrupt is lost, and who raises never waits for the guest's configuration, which may wait for
 * KVM.
 *
 * The deliverer learns of a message right before it may go out, and only if it has changed. A guest
 * that writes to an open entry [pci-3.0 6.8.2 forbids it] has it changed with each write.
 *
 * Masking does not call back what is on its way to KVM.
 */
#include "devices/pci/msix.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/bytes.h"

enum {
	ENTRY_MASKED = 1, /* of an entry's control */
	ENTRY_CONTROL = 12,
	CONTROL_WRITABLE = MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK,
	WORD = 4,
};

/* A message is a word. */
static const uint64_t ADDRESS_WRITABLE = ~UINT64_C(3);

static uint64_t bit_of(unsigned vector)
{
	return UINT64_C(1) << vector;
}

void msix_init(struct msix *msix, unsigned count, const struct msi_port *port)
{
	assert(count > 0 && count <= MSIX_VECTORS_MAX);
	*msix = (struct msix){.count = count, .port = *port};
	for (unsigned i = 0; i < count; i++) {
		msix->entries[i].control = ENTRY_MASKED;
	}
}

static bool is_open(const struct msix *msix, unsigned vector)
{
	return (atomic_load(&msix->open) & bit_of(vector)) != 0;
}

/* Sends what waits, of a vector that was just opened, or turned out to be open. */
static void send_pending(struct msix *msix, unsigned vector)
{
	if ((atomic_fetch_and(&msix->pending, ~bit_of(vector)) & bit_of(vector)) != 0) {
		msix->port.send(msix->port.arg, vector);
	}
}

void msix_raise(struct msix *msix, unsigned vector)
{
	if (is_open(msix, vector)) {
		msix->port.send(msix->port.arg, vector);
		return;
	}
	if (!atomic_load(&msix->is_enabled)) {
		return;
	}
	atomic_fetch_or(&msix->pending, bit_of(vector));
	if (is_open(msix, vector)) {
		send_pending(msix, vector);
	}
}

/* An entry or the control has changed: the vector is opened or closed, or its message is another.
 */
static void settle(struct msix *msix, unsigned vector)
{
	const struct msix_entry *entry = &msix->entries[vector];

	if (msix->control != MSIX_CONTROL_ENABLE || (entry->control & ENTRY_MASKED) != 0) {
		atomic_fetch_and(&msix->open, ~bit_of(vector));
		return;
	}
	msix->port.route(msix->port.arg, vector, entry->address, entry->data);
	atomic_fetch_or(&msix->open, bit_of(vector));
	send_pending(msix, vector);
}

void msix_write_control(struct msix *msix, uint16_t control)
{
	bool is_enabled = (control & MSIX_CONTROL_ENABLE) != 0;

	if (msix->control == (control & CONTROL_WRITABLE)) {
		return;
	}
	msix->control = control & CONTROL_WRITABLE;
	atomic_store(&msix->is_enabled, is_enabled);
	for (unsigned i = 0; i < msix->count; i++) {
		settle(msix, i);
	}
	if (!is_enabled) {
		atomic_store(&msix->pending, 0);
	}
}

void msix_reset(struct msix *msix)
{
	msix_write_control(msix, 0);
	for (unsigned i = 0; i < msix->count; i++) {
		msix->entries[i] = (struct msix_entry){.control = ENTRY_MASKED};
	}
}

static bool is_word(uint64_t offset, uint32_t len)
{
	return (len == WORD || len == 2 * WORD) && is_aligned(offset, len);
}

/* The bytes of an entry. */
static void entry_bytes(const struct msix_entry *entry, uint8_t bytes[MSIX_ENTRY_LEN])
{
	store_le64(bytes, entry->address);
	store_le32(bytes + 8, entry->data);
	store_le32(bytes + ENTRY_CONTROL, entry->control);
}

void msix_read_table(const struct msix *msix, uint64_t offset, uint8_t *data, uint32_t len)
{
	uint8_t bytes[MSIX_ENTRY_LEN];
	uint64_t vector = offset / MSIX_ENTRY_LEN;

	if (vector < msix->count && is_word(offset, len)) {
		entry_bytes(&msix->entries[vector], bytes);
		memcpy(data, bytes + offset % MSIX_ENTRY_LEN, len);
	}
}

void msix_write_table(struct msix *msix, uint64_t offset, const uint8_t *data, uint32_t len)
{
	uint8_t bytes[MSIX_ENTRY_LEN];
	uint64_t vector = offset / MSIX_ENTRY_LEN;

	if (vector >= msix->count || !is_word(offset, len)) {
		return;
	}
	struct msix_entry *entry = &msix->entries[vector];

	entry_bytes(entry, bytes);
	memcpy(bytes + offset % MSIX_ENTRY_LEN, data, len);
	entry->address = load_le64(bytes) & ADDRESS_WRITABLE;
	entry->data = load_le32(bytes + 8);
	entry->control = load_le32(bytes + ENTRY_CONTROL) & ENTRY_MASKED;
	settle(msix, (unsigned)vector);
}

void msix_read_pending(const struct msix *msix, uint64_t offset, uint8_t *data, uint32_t len)
{
	uint64_t pending = atomic_load(&msix->pending);

	if (offset < sizeof(pending) && is_word(offset, len)) {
		memcpy(data, (const uint8_t *)&pending + offset, len);
	}
}

/* --- Saving and loading --- */

void msix_state_codec(struct codec *codec, struct msix_state *state)
{
	codec_count(codec, "vectors", &state->count, MSIX_VECTORS_MAX);
	codec_u16(codec, "control", &state->control);
	codec_u64(codec, "pending", &state->pending);
	for (uint32_t i = 0; i < state->count; i++) {
		codec_begin_item(codec, "vector", i);
		codec_u64(codec, "address", &state->entries[i].address);
		codec_u32(codec, "data", &state->entries[i].data);
		codec_u32(codec, "control", &state->entries[i].control);
		codec_end(codec);
	}
}

void msix_save(const struct msix *msix, struct msix_state *state)
{
	*state = (struct msix_state){
		.count = msix->count,
		.control = msix->control,
		.pending = atomic_load(&msix->pending),
	};
	memcpy(state->entries, msix->entries, sizeof(state->entries));
}

static bool is_possible(const struct msix_state *state)
{
	uint64_t address = 0;
	uint32_t control = 0;

	for (uint32_t i = 0; i < state->count; i++) {
		address |= state->entries[i].address;
		control |= state->entries[i].control;
	}
	return (state->control & ~CONTROL_WRITABLE) == 0 && (address & ~ADDRESS_WRITABLE) == 0 &&
	       (control & ~(uint32_t)ENTRY_MASKED) == 0 &&
	       (state->pending & ~(bit_of(state->count) - 1)) == 0;
}

int msix_load(struct msix *msix, const struct msix_state *state, struct error *err)
{
	if (state->count != msix->count) {
		return error_set(err, ERR_CORRUPT, "It has %u MSI-X vectors and not %u",
				 state->count, msix->count);
	}
	if (!is_possible(state)) {
		return error_set(err, ERR_CORRUPT, "Its MSI-X registers have bits that none has");
	}
	memcpy(msix->entries, state->entries, msix->count * sizeof(msix->entries[0]));
	/* With all bits pending, each vector that opens sends its message. */
	atomic_store(&msix->pending, bit_of(msix->count) - 1);
	msix_write_control(msix, state->control);
	atomic_store(&msix->pending, state->pending & ~atomic_load(&msix->open));
	return 0;
}
