/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of the socket device as bytes, and the greeting of its clients on the host. */
#include "devices/virtio/vsock/vsock_packet.h"

#include "vmm/base/bytes.h"

/* Offsets in struct virtio_vsock_hdr [virtio-1.2 §5.10.6]. */
enum {
	AT_SRC_CID = 0,
	AT_DST_CID = 8,
	AT_SRC_PORT = 16,
	AT_DST_PORT = 20,
	AT_LEN = 24,
	AT_TYPE = 28,
	AT_OP = 30,
	AT_FLAGS = 32,
	AT_BUF_ALLOC = 36,
	AT_FWD_CNT = 40,
};

void vsock_header_decode(const uint8_t bytes[VSOCK_HEADER_LEN], struct vsock_header *header)
{
	header->src_cid = load_le64(bytes + AT_SRC_CID);
	header->dst_cid = load_le64(bytes + AT_DST_CID);
	header->src_port = load_le32(bytes + AT_SRC_PORT);
	header->dst_port = load_le32(bytes + AT_DST_PORT);
	header->len = load_le32(bytes + AT_LEN);
	header->type = load_le16(bytes + AT_TYPE);
	header->op = load_le16(bytes + AT_OP);
	header->flags = load_le32(bytes + AT_FLAGS);
	header->buf_alloc = load_le32(bytes + AT_BUF_ALLOC);
	header->fwd_cnt = load_le32(bytes + AT_FWD_CNT);
}

void vsock_header_encode(const struct vsock_header *header, uint8_t bytes[VSOCK_HEADER_LEN])
{
	store_le64(bytes + AT_SRC_CID, header->src_cid);
	store_le64(bytes + AT_DST_CID, header->dst_cid);
	store_le32(bytes + AT_SRC_PORT, header->src_port);
	store_le32(bytes + AT_DST_PORT, header->dst_port);
	store_le32(bytes + AT_LEN, header->len);
	store_le16(bytes + AT_TYPE, header->type);
	store_le16(bytes + AT_OP, header->op);
	store_le32(bytes + AT_FLAGS, header->flags);
	store_le32(bytes + AT_BUF_ALLOC, header->buf_alloc);
	store_le32(bytes + AT_FWD_CNT, header->fwd_cnt);
}

enum vsock_verdict vsock_header_check(const struct vsock_header *header, uint64_t guest_cid,
				      uint32_t room)
{
	/* For others there is no way from here, nor does the guest speak for them. */
	if (header->src_cid != guest_cid || header->dst_cid != VSOCK_HOST_CID) {
		return VSOCK_DROP;
	}
	if (header->len > VSOCK_PAYLOAD_MAX || header->len > room) {
		return VSOCK_DROP;
	}
	/* [virtio-1.2 §5.10.6.4.1]: an unknown type is answered by an RST. */
	if (header->type != VSOCK_TYPE_STREAM || header->op == VSOCK_OP_INVALID ||
	    header->op > VSOCK_OP_CREDIT_REQUEST) {
		return VSOCK_REFUSE;
	}
	return VSOCK_ACCEPT;
}

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

static size_t skip_blanks(const uint8_t *line, size_t at, size_t len)
{
	while (at < len && is_blank(line[at])) {
		at++;
	}
	return at;
}

/* Returns where the number ends; `at` itself if there is none, or it does not fit. */
static size_t parse_port(const uint8_t *line, size_t at, size_t len, uint32_t *port)
{
	uint64_t value = 0;
	size_t end = at;

	while (end < len && line[end] >= '0' && line[end] <= '9') {
		value = value * 10 + (line[end] - (uint64_t)'0');
		if (value > UINT32_MAX) {
			return at;
		}
		end++;
	}
	*port = (uint32_t)value;
	return end;
}

bool vsock_greeting_parse(const uint8_t *line, size_t len, uint32_t *port)
{
	static const uint8_t keyword[] = {'c', 'o', 'n', 'n', 'e', 'c', 't'};

	if (len <= sizeof(keyword) || !is_blank(line[sizeof(keyword)])) {
		return false;
	}
	for (size_t i = 0; i < sizeof(keyword); i++) {
		/* The letters' case is this bit; what it makes of others is no letter. */
		if ((line[i] | 0x20) != keyword[i]) {
			return false;
		}
	}
	size_t at = skip_blanks(line, sizeof(keyword), len);
	size_t end = parse_port(line, at, len, port);

	if (end == at) {
		return false;
	}
	end = skip_blanks(line, end, len);
	return end + 1 == len && line[end] == '\n';
}
