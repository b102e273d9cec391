/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-64 with the polynomial of Jones, reflected, as Firecracker's snapshots have it [compat]. */
#ifndef VMM_BASE_CRC64_H
#define VMM_BASE_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Of "123456789": 0xe9c6d914c4b8d9ca. */
uint64_t crc64(const void *bytes, size_t len);

#endif
