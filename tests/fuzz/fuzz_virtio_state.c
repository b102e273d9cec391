/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the loading of virtio devices of all kinds. The first byte says which kind, and whether
 * the rest of an input is the sections of a file, or changes of bytes in a good one; the second one
 * has the driver's features. Besides the sanitizers' checks, what can't be loaded is the file's
 * fault and leaves a device that can be freed; what is loaded can run, be saved, loaded again, and
 * reset; a good file always can.
 */
#include "devices/virtio/classes.h"
#include "devices/virtio/core/virtio_state.h"
#include "tests/fuzz/bed.h"
#include "vmm/base/crc64.h"

enum {
	FILE_LEN = 8192,
	SECTIONS_AT = 15, /* behind the head of a file, with its writer of one byte */
	CRC_LEN = 8,
	RUNS = 64,
	IS_WHOLE = 0x80, /* in the first byte: the sections follow */
	QUEUE_SIZE = 16,
	SETTINGS = BED_LIMITED | BED_BLK_TWO_QUEUES,
	HAS_PAIRS = 0x40, /* networks have several queue pairs */
};

static const struct codec_file head = {.magic = 1, .format = 1, .writer = "f"};

/* --- files --- */

static void code(struct codec *codec, struct virtio_mmio_state *mmio, struct virtio_state *state)
{
	virtio_mmio_state_codec(codec, mmio);
	virtio_state_codec(codec, state, virtio_class_of);
}

/* Pauses and saves; returns the file's length. */
static size_t save(struct vdriver *driver, uint8_t file[FILE_LEN])
{
	struct virtio_mmio_state mmio;
	struct virtio_state state;
	struct codec codec;
	struct error err = {0};
	size_t len = 0;

	evloop_freeze(&driver->loop);
	virtio_quiesce(driver->dev);
	virtio_mmio_save(&driver->mmio, &mmio);
	virtio_save(driver->dev, &state);
	codec_save(&codec, &head, file, FILE_LEN);
	code(&codec, &mmio, &state);
	require(codec_finish(&codec, &len, &err) == 0);
	return len;
}

/* Loads into the driver's device, which was just made. */
static int load(struct vdriver *driver, const uint8_t *file, size_t len, struct error *err)
{
	struct virtio_mmio_state mmio = {0};
	struct virtio_state state = {0};
	struct codec codec;

	codec_load(&codec, &head, file, len);
	code(&codec, &mmio, &state);
	if (codec_finish(&codec, NULL, err) < 0 || virtio_load(driver->dev, &state, err) < 0) {
		return -1;
	}
	return virtio_mmio_load(&driver->mmio, &mmio, err);
}

/* What a driver may have in its queues, and a file that says so. */
static size_t make_file(struct vdriver *driver, uint8_t features, uint8_t file[FILE_LEN])
{
	static const uint8_t request[64] = {0};
	const struct vbuf bufs[] = {{request, sizeof(request), 0}, {NULL, 256, VBUF_WRITABLE}};
	uint64_t wanted = (features & 3ULL) << 28 | (uint64_t)(features >> 2) << 1 |
			  ((features & 4) != 0 ? ~UINT64_C(0) : 0);
	struct virtio_dev *dev = driver->dev;

	driver->queue_size = QUEUE_SIZE;
	require(vdriver_start(driver, dev, wanted | 2)); /* memory devices want that */
	for (unsigned i = 0; i < dev->queue_count; i++) {
		vdriver_add(driver, i, bufs + i % 2, 1);
		vdriver_add(driver, i, bufs, 2);
	}
	return save(driver, file);
}

static void change(struct input *input, uint8_t *file, size_t len)
{
	size_t room = len - SECTIONS_AT - CRC_LEN;

	while (input->size >= 3) {
		uint64_t at = input_number(input, 2);

		file[SECTIONS_AT + at % room] = (uint8_t)input_number(input, 1);
	}
	store_le64(file + len - CRC_LEN, crc64(file, len - CRC_LEN));
}

/* The head stays, and the sections are the input. */
static size_t replace(const struct input *input, uint8_t *file)
{
	size_t len = min_u64(input->size, FILE_LEN - SECTIONS_AT - CRC_LEN);

	memcpy(file + SECTIONS_AT, input->data, len);
	len += SECTIONS_AT;
	store_le64(file + len, crc64(file, len));
	return len + CRC_LEN;
}

/* --- what is loaded --- */

static void run(struct vdriver *driver)
{
	struct error err = {0};

	virtio_resume(driver->dev);
	evloop_thaw(&driver->loop);
	for (unsigned i = 0; i < RUNS; i++) {
		require(evloop_run_once(&driver->loop, 0, &err) == 0);
	}
}

static void try(struct bed *bed, bool is_good, uint8_t file[FILE_LEN], size_t len)
{
	struct vdriver *driver = &bed->driver;
	struct error err = {0};

	bed_remake(bed);
	if (load(driver, file, len, &err) < 0) {
		require(!is_good);
		require_fault(&err);
		return;
	}
	run(driver);
	len = save(driver, file);
	bed_remake(bed);
	require(load(driver, file, len, &err) == 0);
	run(driver);
	vdriver_stop(driver);
	evloop_freeze(&driver->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bed bed;
	static uint8_t file[FILE_LEN];
	struct input input = {data, size};
	uint8_t mode = (uint8_t)input_number(&input, 1);

	bed_open(&bed, (mode & 0x3f) % BED_SAVED_KINDS,
		 SETTINGS | ((mode & HAS_PAIRS) != 0 ? BED_NET_PAIRS : 0), false);
	size_t len = make_file(&bed.driver, (uint8_t)input_number(&input, 1), file);

	bool is_good = (mode & IS_WHOLE) == 0 && input.size < 3; /* no change */

	if ((mode & IS_WHOLE) != 0) {
		len = replace(&input, file);
	} else {
		change(&input, file, len);
	}
	try(&bed, is_good, file, len);
	bed_close(&bed);
	return 0;
}
