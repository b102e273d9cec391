/* SPDX-License-Identifier: Apache-2.0 */
/* Any request, of a region anywhere below 2^52, whose blocks have 2 MiB to 2 GiB. */
#include "tests/eva/eva.h"

#include "devices/virtio/mem/mem_req.c"

void main(void)
{
	uint8_t bytes[MEM_REQ_LEN];
	uint8_t answer[MEM_RESP_LEN];
	struct mem_req req;
	struct mem_area area;
	uint64_t offset = 0;
	uint64_t len = 0;

	fill(bytes, sizeof(bytes));
	mem_req_parse(bytes, &req);
	area.base = any_between(0, UINT64_C(1) << 52);
	area.usable_len = any_between(0, UINT64_C(1) << 52);
	area.block_len = UINT64_C(1) << any_between(21, 31);
	if (mem_req_place(&area, &req, &offset, &len)) {
		keep(offset);
		keep(len);
	}
	mem_resp_store(answer, (enum mem_resp_type)any_between(MEM_ACK, MEM_ERROR),
		       (enum mem_state)any_between(MEM_PLUGGED, MEM_MIXED));
	keep(answer[0]);
}
