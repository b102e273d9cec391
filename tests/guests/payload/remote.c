/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: what another process has of a device goes with the machine when it is saved and loaded.
 * That process numbers the requests of the file system device (gt backend SOCKET count), so each
 * answer is one more than the one before, and a request that is lost gets none.
 * Output: "remote: begun", then "remote: on" for each byte of input, and "remote: done" after 'q'.
 */
#include "tests/guests/payload/virtio.h"

enum {
	REQUESTS = 1, /* the queue */
	PATIENCE = 400000000,
	REG_DATA = 0,
	REG_LSR = 5,
	LSR_DATA_READY = 0x01
};

static struct rings rings[2] __attribute__((aligned(0x1000)));
static struct device fs;
static volatile uint32_t answer;
static uint32_t number;

/* One request, and whether its answer is the next number. */
static bool ask(void)
{
	volatile struct rings *ring = &rings[REQUESTS];
	uint16_t used = ring->used.idx;

	desc_set(&ring->desc[0], scratch, 16, DESC_NEXT, 1);
	desc_set(&ring->desc[1], &answer, sizeof(answer), DESC_WRITE, 0);
	rings_offer(ring, 0);
	device_notify(&fs, REQUESTS);
	for (unsigned i = 0; ring->used.idx == used; i++) {
		if (i == PATIENCE) {
			print("remote: WRONG: no answer\n");
			return false;
		}
	}
	number++;
	if (answer != number) {
		print("remote: WRONG: an answer is ");
		print_number(answer);
		print(" in place of ");
		print_number(number);
		print("\n");
	}
	return answer == number;
}

void guest_main(void)
{
	uint8_t byte = 0;

	fs.base = virtio_window;
	fs.queues = 2;
	fs.rings[0] = &rings[0];
	fs.rings[REQUESTS] = &rings[REQUESTS];
	device_start(&fs);
	print("remote: begun\n");
	while (byte != 'q' && ask()) {
		if ((serial_in(REG_LSR) & LSR_DATA_READY) != 0) {
			byte = serial_in(REG_DATA);
			print("remote: on\n");
		}
	}
	if (byte == 'q') {
		print("remote: done\n");
	}
}
