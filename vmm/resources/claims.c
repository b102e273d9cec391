/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose the files of drives and pmem devices are.
 *
 * Theory of operation. A lock belongs to an open file, and two devices of one machine may have one
 * file open: that is the guest's affair, as it is with Firecracker. So of all its devices on a file
 * one holds the lock, a device that writes if there is one. Two machines on one file may be fine as
 * well, where nobody mounts it for writing: a boot and a change of drives go on without the lock.
 * Two machines with one state are not: each has the file system's in its memory.
 */
#include "vmm/resources/claims.h"

#include "vmm/base/fd.h"
#include "vmm/base/file_lock.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/base/log.h"
#include "vmm/resources/microvm.h"

enum {
	LOAD_PATIENCE_MS = 1000,
	BOOT_PATIENCE_MS = 50, /* which a boot beside the file's owner takes longer */
};

struct claim {
	int fd;
	bool is_read_only;
	bool *is_held;
	const char *what, *id, *path;
};

struct claims {
	size_t count;
	struct claim items[2 * CONFIG_DEVICES_MAX];
};

static struct claims list(struct microvm *microvm)
{
	struct vm_config *config = &microvm->config;
	const struct gmem *mem = microvm->controller.machine.mem;
	struct claims claims = {0};

	for (size_t i = 0; i < config->drive_count; i++) {
		struct drive *drive = &config->drives[i];

		if (drive->file.is_lockable && drive->file.overlay == NULL) {
			claims.items[claims.count++] =
				(struct claim){drive->file.fd,	       drive->config.is_read_only,
					       &drive->is_file_held,   "drive",
					       drive->config.drive_id, drive->config.path_on_host};
		}
	}
	for (size_t i = 0; mem != NULL && i < config->pmems.count; i++) {
		struct pmem_device *device = &config->pmems.items[i];

		claims.items[claims.count++] = (struct claim){gmem_pmem_slot(mem, device->index).fd,
							      device->config.read_only,
							      &device->is_file_held,
							      "pmem device",
							      device->config.id,
							      device->config.path_on_host};
	}
	return claims;
}

/* The first that writes, of those on its file, or the first of all. */
static bool is_holder(const struct claims *claims, size_t at)
{
	const struct claim *own = &claims->items[at];

	for (size_t i = 0; i < claims->count; i++) {
		const struct claim *other = &claims->items[i];

		if (i != at && fd_is_same_file(other->fd, own->fd) &&
		    (other->is_read_only == own->is_read_only ? i < at : own->is_read_only)) {
			return false;
		}
	}
	return true;
}

static void choose_holders(const struct claims *claims)
{
	for (size_t i = 0; i < claims->count; i++) {
		if (!is_holder(claims, i)) {
			file_unlock(claims->items[i].fd, FILE_CONTENT);
			*claims->items[i].is_held = false;
		}
	}
}

static int take(const struct claim *claim, unsigned patience_ms, struct error *err)
{
	*claim->is_held = file_lock(claim->fd, FILE_CONTENT, claim->is_read_only, patience_ms);
	return *claim->is_held
		       ? 0
		       : error_set(
				 err, ERR_BAD_STATE,
				 "The file %.200s of the %s %.64s is in use by another squib, and "
				 "one of the two writes to it: name another file, such as a copy "
				 "or an overlay, or make it read-only in both",
				 claim->path, claim->what, claim->id);
}

/*
 * For a machine that may have a twin. Who only reads does not stop it: any user who may read the
 * file can have such a lock.
 */
static int take_alone(const struct claim *claim, unsigned patience_ms, struct error *err)
{
	if (take(claim, patience_ms, err) == 0) {
		return 0;
	}
	*claim->is_held = !claim->is_read_only && file_lock(claim->fd, FILE_CONTENT, true, 0);
	if (!*claim->is_held) {
		return -1;
	}
	log_warn("%s", err->msg);
	error_clear(err);
	return 0;
}

static void adapt(const struct claims *claims, unsigned patience_ms)
{
	choose_holders(claims);
	for (size_t i = 0; i < claims->count; i++) {
		struct error err = {0};

		if (is_holder(claims, i) && take(&claims->items[i], patience_ms, &err) < 0) {
			log_warn("%s", err.msg);
		}
	}
}

static void release(const struct claims *claims)
{
	for (size_t i = 0; i < claims->count; i++) {
		file_unlock(claims->items[i].fd, FILE_CONTENT);
	}
}

void claims_adapt(struct microvm *microvm)
{
	const struct claims claims = list(microvm);

	if (!microvm->has_handed_over) {
		adapt(&claims, 0);
		return;
	}
	/* What was handed over stays so; what is new is claimed with the rest. */
	for (size_t i = 0; i < claims.count; i++) {
		*claims.items[i].is_held = is_holder(&claims, i);
	}
}

int claims_begin(struct microvm *microvm, struct error *err)
{
	const struct claims claims = list(microvm);

	microvm->has_handed_over = false;
	if (!microvm->is_loaded) {
		adapt(&claims, BOOT_PATIENCE_MS);
		return 0;
	}
	choose_holders(&claims);
	for (size_t i = 0; i < claims.count; i++) {
		if (is_holder(&claims, i) &&
		    take_alone(&claims.items[i], LOAD_PATIENCE_MS, err) < 0) {
			return -1;
		}
	}
	return 0;
}

void claims_drop(struct microvm *microvm)
{
	const struct claims claims = list(microvm);

	release(&claims);
}

void claims_hand_over(struct microvm *microvm)
{
	claims_drop(microvm);
	microvm->has_handed_over = true;
}

int claims_take_back(struct microvm *microvm, struct error *err)
{
	const struct claims claims = list(microvm);

	if (!microvm->has_handed_over) {
		return 0;
	}
	for (size_t i = 0; i < claims.count; i++) {
		const struct claim *claim = &claims.items[i];

		if (*claim->is_held && take_alone(claim, 0, err) < 0) {
			*claim->is_held = true; /* at the next try, too */
			release(&claims);
			return -1;
		}
	}
	microvm->has_handed_over = false;
	return 0;
}
