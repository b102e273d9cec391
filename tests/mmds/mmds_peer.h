/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of mmds_peer: the metadata service's network on a TAP, and clients of the kernel's TCP.
 */
#ifndef TESTS_MMDS_MMDS_PEER_H
#define TESTS_MMDS_MMDS_PEER_H

#include <stdint.h>

#define MMDS_PEER_ADDRESS "169.254.169.254"

/* Each is a command with its arguments from argv[2] on, and returns an exit status. */
int cmd_serve(int argc, char **argv);
int cmd_fetch(int argc, char **argv);
int cmd_flood(int argc, char **argv);

/* The byte of a reply's body at this offset. */
static inline char body_at(uint64_t offset)
{
	return (char)('a' + (offset * 7 + offset / 251) % 26);
}

#endif
