/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy between a chain and a buffer stays within the buffer, whatever the chain's lengths are.
 *
 * Functions: virtq_chain_read virtq_chain_write is_in_first cursor_init cursor_next
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/core/virtq_chain.h"

/*@ requires len == 0 || \valid((uint8_t *)buf + (0 .. len - 1));
  @ assigns ((uint8_t *)buf)[0 .. len - 1];
  @*/
int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len);

/*@ requires len == 0 || \valid_read((const uint8_t *)buf + (0 .. len - 1));
  @ assigns \nothing;
  @*/
int gmem_write(struct gmem *mem, gpa_t gpa, const void *buf, size_t len);

/*@ assigns \nothing;
  @ ensures \result == (a < b ? a : b);
  @*/
static inline uint64_t min_u64(uint64_t a, uint64_t b);

/*@ requires \valid(part);
  @ assigns *part;
  @*/
static bool is_in_first(const struct virtq_chain *chain, const struct virtq_span *span,
			struct virtq_seg *part);

/*@ requires len == 0 || \valid((uint8_t *)buf + (0 .. len - 1));
  @*/
int virtq_chain_read(const struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		     void *buf, size_t len);

/*@ requires len == 0 || \valid_read((const uint8_t *)buf + (0 .. len - 1));
  @*/
int virtq_chain_write(struct gmem *mem, const struct virtq_chain *chain, uint32_t offset,
		      const void *buf, size_t len);

#include "devices/virtio/core/virtq_chain.c"
