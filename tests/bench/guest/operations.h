/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the guest's program have in common, and its language with the host's peer. */
#ifndef TESTS_BENCH_GUEST_OPERATIONS_H
#define TESTS_BENCH_GUEST_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	OPS_ETHERTYPE = 0x88b5,	     /* frames that are measured [IEEE 802: for experiments] */
	OPS_ETHERTYPE_PEER = 0x88b6, /* frames that the peer answers */
	OPS_PORT = 9000,	     /* of TCP and of sockets of either kind */
	OPS_HTTP_PORT = 80,
	OPS_FRAME_LEN = 60, /* 64 with the check sequence that no TAP has */
	OPS_BURST_MAX = 128,
	OPS_CHUNK = 64 << 10,
};

/* Begins each phase of a connection, and stands in each frame to the peer. */
struct ops_order {
	uint32_t count;	 /* chunks, or frames */
	uint8_t is_down; /* to the guest */
	uint8_t pad[3];
};

/* A frame: addresses, type, order. */
struct ops_frame {
	uint8_t to[6];
	uint8_t from[6];
	uint8_t type[2];
	struct ops_order order;
	uint8_t rest[OPS_FRAME_LEN - 14 - sizeof(struct ops_order)];
} __attribute__((packed));

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* Between these two, and nothing else, is what a row is made of. */
void ops_begin(const char *row);
void ops_end(unsigned count);

/* A row that is no time, but a figure that the guest knows. */
void ops_value(const char *row, long value);

void disk_measure(const char *path);
void disk_measure_beside(const char *path, const char *interface); /* of a flood of frames */
void net_measure(const char *interface);
__attribute__((noreturn)) void net_flood(const char *interface);
void stream_measure(const char *kind, int fd);
void http_measure(const char *address);
void files_measure(const char *device); /* of tests/bench/pmem_count */
int tcp_connect(const char *address, uint16_t port);
int vsock_connect(void);

#endif
