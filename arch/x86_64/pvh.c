/* SPDX-License-Identifier: Apache-2.0 */
/* The start info, which a PVH kernel reads first [xen, arch-x86/hvm/start_info.h]. */
#include "pvh.h"

#include <assert.h>

#include "memmap.h"

enum {
	START_INFO_MAGIC = 0x336ec578,
	START_INFO_VERSION = 1, /* the first with a memory map */
};

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modlist;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t memmap_count;
	uint32_t reserved;
};

struct module {
	uint64_t base;
	uint64_t len;
	uint64_t cmdline;
	uint64_t reserved;
};

struct pvh_memmap_entry {
	uint64_t base;
	uint64_t len;
	uint32_t type;
	uint32_t reserved;
};

static_assert(sizeof(struct start_info) == 56, "layout of Xen's hvm_start_info");
static_assert(sizeof(struct module) == 32, "layout of Xen's hvm_modlist_entry");
static_assert(sizeof(struct pvh_memmap_entry) == 24, "layout of Xen's hvm_memmap_table_entry");

static int write_part(struct gmem *mem, uint64_t at, const void *part, size_t len,
		      struct error *err)
{
	if (gmem_write(mem, GPA(at), part, len) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest has too little memory for the PVH start info");
	}
	return 0;
}

int pvh_write(struct gmem *mem, const struct boot_info *boot, struct error *err)
{
	struct memmap_entry map[MEMMAP_MAX];
	const size_t map_count = memmap_fill(boot, map);
	struct pvh_memmap_entry pvh_map[MEMMAP_MAX];
	struct start_info info = {
		.magic = START_INFO_MAGIC,
		.version = START_INFO_VERSION,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = LAYOUT_RSDP,
		.memmap = LAYOUT_PVH_MEMMAP,
		.memmap_count = (uint32_t)map_count,
	};

	for (size_t i = 0; i < map_count; i++) {
		pvh_map[i] = (struct pvh_memmap_entry){
			.base = map[i].base,
			.len = map[i].len,
			.type = map[i].type,
		};
	}
	if (write_part(mem, LAYOUT_PVH_MEMMAP, pvh_map, map_count * sizeof(pvh_map[0]), err) != 0) {
		return -1;
	}
	if (boot->initrd_len > 0) {
		const struct module initrd = {.base = boot->initrd.v, .len = boot->initrd_len};

		info.module_count = 1;
		info.modlist = LAYOUT_PVH_MODLIST;
		if (write_part(mem, LAYOUT_PVH_MODLIST, &initrd, sizeof(initrd), err) != 0) {
			return -1;
		}
	}
	return write_part(mem, LAYOUT_PVH_INFO, &info, sizeof(info), err);
}
