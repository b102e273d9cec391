/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the memory device's driver. */
#include "devices/virtio/mem/mem_req.h"

#include <string.h>

#include "vmm/base/bytes.h"

/* Offsets in a request and a response. */
enum {
	REQ_TYPE = 0,
	REQ_ADDR = 8,
	REQ_COUNT = 16,
	RESP_TYPE = 0,
	RESP_STATE = 8,
};

void mem_req_parse(const uint8_t bytes[MEM_REQ_LEN], struct mem_req *req)
{
	req->type = load_le16(bytes + REQ_TYPE);
	req->addr = load_le64(bytes + REQ_ADDR);
	req->count = load_le16(bytes + REQ_COUNT);
}

void mem_resp_store(uint8_t bytes[MEM_RESP_LEN], enum mem_resp_type type, enum mem_state state)
{
	memset(bytes, 0, MEM_RESP_LEN);
	store_le16(bytes + RESP_TYPE, (uint16_t)type);
	store_le16(bytes + RESP_STATE, (uint16_t)state);
}

bool mem_req_place(const struct mem_area *area, const struct mem_req *req, uint64_t *offset,
		   uint64_t *len)
{
	if (req->count == 0 || req->addr < area->base) {
		return false;
	}
	uint64_t at = req->addr - area->base;

	if (at >= area->usable_len || at % area->block_len != 0 ||
	    req->count > (area->usable_len - at) / area->block_len) {
		return false;
	}
	*offset = at;
	*len = req->count * area->block_len;
	return true;
}
