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

/* Devices whose files may have to be claimed: drives, then pmem devices. */
static size_t count(const struct microvm *microvm)
{
	const struct vm_config *config = &microvm->config;

	return config->drive_count +
	       (microvm->controller.machine.mem != NULL ? config->pmems.count : 0);
}

/* The claim of one of those; false: its file is nobody's. */
static bool claim_of(struct microvm *microvm, size_t at, struct claim *claim)
{
	struct vm_config *config = &microvm->config;

	if (at >= config->drive_count) {
		struct pmem_device *device = &config->pmems.items[at - config->drive_count];
		const struct gmem *mem = microvm->controller.machine.mem;

		*claim = (struct claim){gmem_pmem_slot(mem, device->index).fd,
					device->config.read_only,
					&device->is_file_held,
					"pmem device",
					device->config.id,
					device->config.path_on_host};
		return true;
	}
	struct drive *drive = &config->drives[at];

	*claim = (struct claim){drive->file.fd,		drive->config.is_read_only,
				&drive->is_file_held,	"drive",
				drive->config.drive_id, drive->config.path_on_host};
	return drive->file.is_lockable && drive->file.overlay == NULL;
}

/* As claim_of, for the first that writes of those on its file, or the first of all. */
static bool holder(struct microvm *microvm, size_t at, struct claim *own)
{
	if (!claim_of(microvm, at, own)) {
		return false;
	}
	for (size_t i = 0; i < count(microvm); i++) {
		struct claim other;

		if (i != at && claim_of(microvm, i, &other) && fd_is_same_file(other.fd, own->fd) &&
		    (other.is_read_only == own->is_read_only ? i < at : own->is_read_only)) {
			return false;
		}
	}
	return true;
}

static void choose_holders(struct microvm *microvm)
{
	struct claim claim;

	for (size_t i = 0; i < count(microvm); i++) {
		if (!holder(microvm, i, &claim) && claim_of(microvm, i, &claim)) {
			file_unlock(claim.fd, FILE_CONTENT);
			*claim.is_held = false;
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

static void adapt(struct microvm *microvm, unsigned patience_ms)
{
	struct claim claim;

	choose_holders(microvm);
	for (size_t i = 0; i < count(microvm); i++) {
		struct error err = {0};

		if (holder(microvm, i, &claim) && take(&claim, patience_ms, &err) < 0) {
			log_warn("%s", err.msg);
		}
	}
}

void claims_adapt(struct microvm *microvm)
{
	struct claim claim;

	if (!microvm->has_handed_over) {
		adapt(microvm, 0);
		return;
	}
	/* What was handed over stays so; what is new is claimed with the rest. */
	for (size_t i = 0; i < count(microvm); i++) {
		bool is_held = holder(microvm, i, &claim);

		if (is_held || claim_of(microvm, i, &claim)) {
			*claim.is_held = is_held;
		}
	}
}

int claims_begin(struct microvm *microvm, struct error *err)
{
	struct claim claim;

	microvm->has_handed_over = false;
	if (!microvm->is_loaded) {
		adapt(microvm, BOOT_PATIENCE_MS);
		return 0;
	}
	choose_holders(microvm);
	for (size_t i = 0; i < count(microvm); i++) {
		if (holder(microvm, i, &claim) && take_alone(&claim, LOAD_PATIENCE_MS, err) < 0) {
			return -1;
		}
	}
	return 0;
}

void claims_drop(struct microvm *microvm)
{
	struct claim claim;

	for (size_t i = 0; i < count(microvm); i++) {
		if (claim_of(microvm, i, &claim)) {
			file_unlock(claim.fd, FILE_CONTENT);
		}
	}
}

void claims_hand_over(struct microvm *microvm)
{
	claims_drop(microvm);
	microvm->has_handed_over = true;
}

int claims_take_back(struct microvm *microvm, struct error *err)
{
	struct claim claim;

	if (!microvm->has_handed_over) {
		return 0;
	}
	for (size_t i = 0; i < count(microvm); i++) {
		if (claim_of(microvm, i, &claim) && *claim.is_held &&
		    take_alone(&claim, 0, err) < 0) {
			*claim.is_held = true; /* at the next try, too */
			claims_drop(microvm);
			return -1;
		}
	}
	microvm->has_handed_over = false;
	return 0;
}
