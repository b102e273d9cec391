/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the memory device's driver [virtio-1.2 §5.15.6]. Pure. */
#ifndef DEVICES_VIRTIO_MEM_REQ_H
#define DEVICES_VIRTIO_MEM_REQ_H

#include <stdbool.h>
#include <stdint.h>

enum {
	MEM_REQ_LEN = 24,  /* bytes of a request: its type, an address, a number of blocks */
	MEM_RESP_LEN = 10, /* of a response: its type, a state */
};

enum mem_req_type {
	MEM_PLUG,
	MEM_UNPLUG,
	MEM_UNPLUG_ALL,
	MEM_STATE,
	MEM_REQ_TYPES
};

enum mem_resp_type {
	MEM_ACK,
	MEM_NACK,  /* not with the size that is requested now: the driver looks at that again */
	MEM_BUSY,  /* not now: the driver tries again later */
	MEM_ERROR, /* never */
	MEM_RESP_TYPES
};

enum mem_state {
	MEM_PLUGGED,
	MEM_UNPLUGGED,
	MEM_MIXED
};

struct mem_req {
	uint16_t type; /* enum mem_req_type, or what nobody knows */
	uint64_t addr;
	uint16_t count; /* of blocks; of MEM_UNPLUG_ALL neither counts */
};

void mem_req_parse(const uint8_t bytes[MEM_REQ_LEN], struct mem_req *req);
void mem_resp_store(uint8_t bytes[MEM_RESP_LEN], enum mem_resp_type type, enum mem_state state);

/* The region as drivers see it, in bytes; block_len is a power of two. */
struct mem_area {
	uint64_t base;
	uint64_t usable_len;
	uint64_t block_len;
};

/*
 * Where the blocks of a request lie, in bytes from the region's begin. False if there are none,
 * they don't begin on a block, or are not all usable.
 */
bool mem_req_place(const struct mem_area *area, const struct mem_req *req, uint64_t *offset,
		   uint64_t *len);

#endif
