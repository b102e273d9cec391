/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of devices: of the configuration before the start, of the devices themselves after
 * it. */
#include "vmm/device_actions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/fd.h"

/* [compat] */
static const char not_found[] = "Failed perform action on device: Device not found";

/* --- Before the start --- */

int device_put_drive(struct controller *controller, struct action *action, struct error *err)
{
	return vm_config_put_drive(&controller->config, &action->drive, err);
}

int device_put_net(struct controller *controller, struct action *action, struct error *err)
{
	return vm_config_put_net(&controller->config, &action->net, err);
}

int device_put_pmem(struct controller *controller, struct action *action, struct error *err)
{
	(void)controller;
	(void)action;
	return error_set(err, ERR_NOT_SUPPORTED,
			 "This build of squib does not have virtio pmem devices yet.");
}

int device_put_vsock(struct controller *controller, struct action *action, struct error *err)
{
	return vm_config_put_vsock(&controller->config, &action->vsock, err);
}

int device_put_entropy(struct controller *controller, struct action *action, struct error *err)
{
	(void)err;
	vm_config_put_entropy(&controller->config, &action->entropy);
	return 0;
}

int device_put_balloon(struct controller *controller, struct action *action, struct error *err)
{
	return vm_config_put_balloon(&controller->config, &action->balloon, err);
}

/* --- Drives --- */

static int change_file(struct drive *drive, struct blk *blk, const char *path, bool is_confined,
		       struct error *err)
{
	AUTO_FREE char *kept = strdup(path);
	struct blk_file file = {.fd = -1};

	if (kept == NULL) {
		return error_sys(err, "Cannot keep the path of the drive");
	}
	if (blk_file_open(path, drive->config.is_read_only, &file, err) < 0) {
		metric_add(&blk_metrics(blk)->update_fails, 1);
		if (err->sys == EACCES && is_confined) {
			error_wrap(err, "With --landlock, a drive goes on only with files of a "
					"directory that the machine started with");
		}
		return error_wrap(err, "Block: Virtio backend error");
	}
	if (blk_set_file(blk, &file, err) < 0) {
		blk_file_close(&file);
		return error_wrap(err, "Block: Virtio backend error");
	}
	blk_file_close(&drive->file);
	drive->file = file;
	free(drive->config.path_on_host);
	drive->config.path_on_host = kept;
	kept = NULL;
	return 0;
}

/* The file first, then the limits: not both or none [compat]. */
static int update_drive(struct controller *controller, const struct drive_update *update,
			struct error *err)
{
	size_t index = vm_config_find_drive(&controller->config, update->drive_id);
	struct blk *blk = devmgr_blk(&controller->microvm.devmgr, index);

	if (blk == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "%s", not_found);
	}

	struct drive *drive = &controller->config.drives[index];

	if (update->path_on_host == NULL && !update->has_rate_limiter) {
		/* [compat] It asks a vhost-user backend for its configuration. */
		return error_set(err, ERR_BAD_REQUEST,
				 "Block: Running method expected different backend.");
	}
	bool is_confined = controller->landlock != NULL && controller->landlock->abi != 0;

	if (update->path_on_host != NULL &&
	    change_file(drive, blk, update->path_on_host, is_confined, err) < 0) {
		return -1;
	}
	if (update->has_rate_limiter) {
		if (blk_set_limits(blk, &update->rate_limiter, err) < 0) {
			return -1;
		}
		vm_config_note_limits(&drive->config.rate_limiter, &drive->config.has_rate_limiter,
				      &update->rate_limiter);
	}
	return 0;
}

int device_patch_drive(struct controller *controller, struct action *action, struct error *err)
{
	struct error cause = {0};

	if (update_drive(controller, &action->drive_update, &cause) == 0) {
		return 0;
	}
	error_set(err, cause.kind,
		  "Unable to patch the block device: %.400s Please verify the request arguments.",
		  cause.msg);
	err->sys = cause.sys;
	return -1;
}

/* --- Network interfaces --- */

int device_patch_net(struct controller *controller, struct action *action, struct error *err)
{
	const struct net_update *update = &action->net_update;
	size_t index = vm_config_find_net(&controller->config, update->iface_id);
	struct net *net = devmgr_net(&controller->microvm.devmgr, index);

	if (net == NULL) {
		return error_set(err, ERR_BAD_REQUEST, "Unable to update the net device: %s",
				 not_found);
	}
	if (net_set_limits(net, update->has_rx_rate_limiter ? &update->rx_rate_limiter : NULL,
			   update->has_tx_rate_limiter ? &update->tx_rate_limiter : NULL,
			   err) < 0) {
		return error_wrap(err, "Unable to update the net device");
	}

	struct net_config *config = &controller->config.nets[index].config;

	if (update->has_rx_rate_limiter) {
		vm_config_note_limits(&config->rx_rate_limiter, &config->has_rx_rate_limiter,
				      &update->rx_rate_limiter);
	}
	if (update->has_tx_rate_limiter) {
		vm_config_note_limits(&config->tx_rate_limiter, &config->has_tx_rate_limiter,
				      &update->tx_rate_limiter);
	}
	return 0;
}

/* --- The balloon --- */

int device_get_balloon(struct controller *controller, struct action *action, struct error *err)
{
	(void)action;
	if (controller->config.has_balloon) {
		return 0;
	}
	if (controller->state == VM_NOT_STARTED) {
		return error_set(err, ERR_BAD_STATE,
				 "Balloon config error: No balloon device found.");
	}
	return error_set(err, ERR_BAD_STATE, "Internal VMM error: %s", not_found);
}

/* NULL, and the error, if the machine has none. */
static struct balloon *balloon_of(const struct controller *controller, struct error *err)
{
	struct balloon *balloon = devmgr_balloon(&controller->microvm.devmgr);

	if (balloon == NULL) {
		error_set(err, ERR_BAD_REQUEST, "%s", not_found);
	}
	return balloon;
}

/* What the balloon itself says. */
static int told(int result, struct error *err)
{
	return result < 0 ? error_wrap(err, "Balloon") : 0;
}

int device_patch_balloon(struct controller *controller, struct action *action, struct error *err)
{
	struct balloon *balloon = balloon_of(controller, err);

	if (balloon == NULL ||
	    told(balloon_set_amount(balloon, action->amount_mib, err), err) < 0) {
		return -1;
	}
	controller->config.balloon.amount_mib = action->amount_mib;
	return 0;
}

int device_get_balloon_stats(struct controller *controller, struct action *action,
			     struct error *err)
{
	struct balloon *balloon = balloon_of(controller, err);

	return balloon == NULL ? -1 : told(balloon_get_stats(balloon, &action->stats, err), err);
}

int device_patch_balloon_stats(struct controller *controller, struct action *action,
			       struct error *err)
{
	struct balloon *balloon = balloon_of(controller, err);
	uint16_t seconds = action->stats_polling_interval_s;

	if (balloon == NULL || told(balloon_set_stats_interval(balloon, seconds, err), err) < 0) {
		return -1;
	}
	controller->config.balloon.stats_polling_interval_s = seconds;
	return 0;
}

int device_start_hinting(struct controller *controller, struct action *action, struct error *err)
{
	struct balloon *balloon = balloon_of(controller, err);

	return balloon == NULL
		       ? -1
		       : told(balloon_start_hinting(balloon, action->acknowledge_on_stop, err),
			      err);
}

int device_get_hinting(struct controller *controller, struct action *action, struct error *err)
{
	struct balloon *balloon = balloon_of(controller, err);

	return balloon == NULL ? -1
			       : told(balloon_get_hinting(balloon, &action->hinting, err), err);
}

int device_stop_hinting(struct controller *controller, struct action *action, struct error *err)
{
	struct balloon *balloon = balloon_of(controller, err);

	(void)action;
	return balloon == NULL ? -1 : told(balloon_stop_hinting(balloon, err), err);
}
