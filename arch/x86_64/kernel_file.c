/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders of the kernel formats share. */
#include "kernel_file.h"

#include <inttypes.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

int kernel_file_read(const struct kernel_file *file, uint64_t offset, void *buf, size_t len,
		     struct error *err)
{
	if (offset > file->len || len > file->len - offset) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel file is truncated: %zu bytes of headers would start "
				 "at %" PRIu64 ", but it has %" PRIu64 " bytes",
				 len, offset, file->len);
	}
	if (pread_full(file->fd, buf, len, offset, err) != 0) {
		return error_wrap(err, "Cannot read the kernel file");
	}
	return 0;
}

int kernel_place_check(const struct boot_info *boot, uint64_t base, uint64_t len, const char *what,
		       struct error *err)
{
	const uint64_t ram_end = boot->ram[0].base.v + boot->ram[0].len;
	uint64_t end;

	if (base < LAYOUT_HIGH_RAM) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel's %s is at 0x%" PRIx64 ", but the memory below 1 MiB "
				 "is the firmware's",
				 what, base);
	}
	if (!add_u64(base, len, &end) || end > ram_end) {
		return error_set(err, ERR_CORRUPT,
				 "The kernel's %s needs 0x%" PRIx64 " bytes from 0x%" PRIx64
				 ", but the guest's memory there ends at 0x%" PRIx64,
				 what, len, base, ram_end);
	}
	return 0;
}
