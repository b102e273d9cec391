/* SPDX-License-Identifier: Apache-2.0 */
/* Where the interrupt controller of an aarch64 VM is, and what a VM has of it. */
#ifndef ARCH_AARCH64_GIC_FRAMES_H
#define ARCH_AARCH64_GIC_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/bytes.h"

/* The GIC's frames end here, so that the devices start on a round address. */
#define LAYOUT_GIC_END UINT64_C(0x40000000)

/* GICv3: the distributor is one 64 KiB frame, a redistributor two [gic-v3 12.8, 12.10]. */
#define LAYOUT_GICV3_DIST_LEN (64 * KIB)
#define LAYOUT_GICV3_DIST (LAYOUT_GIC_END - LAYOUT_GICV3_DIST_LEN)
#define LAYOUT_GICV3_REDIST_LEN (128 * KIB) /* per vCPU; the last one ends at the distributor */

/* Its ITS is two frames as well, right below the redistributors [gic-v3 12.12]. */
#define LAYOUT_ITS_LEN (128 * KIB)

/* GICv2: the distributor is one 4 KiB frame, the CPU interface two [gic-v2 4.1]. */
#define LAYOUT_GICV2_DIST_LEN (4 * KIB)
#define LAYOUT_GICV2_DIST (LAYOUT_GIC_END - LAYOUT_GICV2_DIST_LEN)
#define LAYOUT_GICV2_CPU_LEN (8 * KIB)
#define LAYOUT_GICV2_CPU (LAYOUT_GICV2_DIST - LAYOUT_GICV2_CPU_LEN)

/* A frame beside it for messages is one 4 KiB page below [gic-v2m 5]. */
#define LAYOUT_V2M_LEN (4 * KIB)
#define LAYOUT_V2M (LAYOUT_GICV2_CPU - LAYOUT_V2M_LEN)

enum gic_version {
	GIC_NONE,
	GIC_V2,
	GIC_V3
};

/* What the machine has as interrupt controller; for GIC_NONE the rest means nothing. */
struct gic {
	enum gic_version version;
	int fd;
	uint64_t dist;
	uint64_t dist_len;
	uint64_t cpu; /* v3: all redistributors; v2: the CPU interface */
	uint64_t cpu_len;
	bool has_its; /* v3: takes messages, with a descriptor of its own */
	int its_fd;
	uint64_t its;
	bool has_v2m; /* v2: messages go to a frame that is ours */
};

#endif
