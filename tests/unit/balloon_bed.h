/* SPDX-License-Identifier: Apache-2.0 */
/* A balloon and its driver, for the tests of both of its modules. */
#ifndef TESTS_UNIT_BALLOON_BED_H
#define TESTS_UNIT_BALLOON_BED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/balloon/balloon.h"
#include "tests/lib/vdriver.h"
#include "vmm/base/bytes.h"

enum {
	INFLATE,
	DEFLATE,
};

enum {
	PAGE = 4096,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_CONFIG_GENERATION = 0xfc,
	INT_CONFIG = 2,
	STATUS_NEEDS_RESET = 64,
	RAM_MIB = 33,
};

/* Places in the driver's memory that it does not use itself. */
#define BORDER (16 * MIB)
#define PAGES (20 * MIB)
#define LIST (24 * MIB)
#define STATS (25 * MIB)
#define HOLE VDRIVER_HOLE
#define END (VDRIVER_HIGH + VDRIVER_HIGH_LEN)

/* As the guest has it [virtio-1.2 §5.5.6.3]. */
struct __attribute__((packed)) stat {
	uint16_t tag;
	uint64_t value;
};

struct seg {
	uint64_t gpa;
	uint32_t len;
	bool is_writable;
};

extern struct vdriver driver;
extern struct gmem *mem; /* the driver's */
extern struct balloon *balloon;
extern struct balloon_metrics *metrics;
extern uint16_t next_desc[VIRTIO_QUEUES_MAX];

extern const struct balloon_config plain, with_stats, with_hinting, with_reporting, with_all;

void make(const struct balloon_config *config);
void unmake(void);
void tear_down(void);
void run(void);
void run_once(void);
/* Up to DRIVER_OK with these features of the balloon. */
void start(uint64_t features);
void reset(void);
/* Offers a chain of segments that may be anywhere. */
void offer(unsigned queue, const struct seg *segs, size_t count);
/* A chain came back, with nothing written. */
bool take(unsigned queue);
uint32_t config_word(uint64_t offset);
bool take_config_interrupt(void);
/* What the monitor has of the memory, page by page. */
size_t resident(uint64_t gpa, uint64_t len);
/* Writes to each page, so that it costs memory. */
void touch(uint64_t gpa, uint64_t len);
bool is_zero(uint64_t gpa);
uint32_t pfn_of(uint64_t gpa);
/* Sends a list that lies at `at`. */
void offer_list(unsigned queue, uint64_t at, const uint32_t *pfns, size_t count);
void offer_stats(const struct stat *stats, size_t count);
void offer_cmd(unsigned queue, uint32_t cmd);
void offer_range(unsigned queue, uint64_t gpa, uint32_t len);
uint64_t count(const struct metric *metric);
struct balloon_hinting hinting(void);
void start_hinting(bool acknowledge_on_stop);

#endif
