/* SPDX-License-Identifier: Apache-2.0 */
/* Validates and stores the devices that the client asks for. */
#include "vmm/config_devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/config.h"

/* --- Lists --- */

/* Room for one more of `size` bytes. */
static int grow(void **list, size_t count, size_t size, struct error *err)
{
	if (count == CONFIG_DEVICES_MAX) {
		return error_set(err, ERR_TOO_LARGE, "There are %d such devices already",
				 CONFIG_DEVICES_MAX);
	}

	void *longer = reallocarray(*list, count + 1, size);

	if (longer == NULL) {
		return error_sys(err, "Cannot allocate a list of devices");
	}
	*list = longer;
	return 0;
}

/* --- Rate limits --- */

static void note_bucket(struct token_bucket_config *bucket, bool *has_bucket,
			const struct token_bucket_config *update)
{
	*has_bucket = update->size > 0 && update->refill_time_ms > 0;
	*bucket = *has_bucket ? *update : (struct token_bucket_config){0};
}

void vm_config_note_limits(struct limiter_config *limits, bool *has_limits,
			   const struct limiter_config *update)
{
	if (update->has_bandwidth) {
		note_bucket(&limits->bandwidth, &limits->has_bandwidth, &update->bandwidth);
	}
	if (update->has_ops) {
		note_bucket(&limits->ops, &limits->has_ops, &update->ops);
	}
	*has_limits = limits->has_bandwidth || limits->has_ops;
}

/* What limits nothing is not there. */
static void tidy_limits(struct limiter_config *limits, bool *has_limits)
{
	const struct limiter_config asked = *limits;

	*limits = (struct limiter_config){0};
	vm_config_note_limits(limits, has_limits, &asked);
}

/* --- Drives --- */

static void drive_destroy(struct drive *drive)
{
	free(drive->config.drive_id);
	free(drive->config.partuuid);
	free(drive->config.path_on_host);
	free(drive->config.socket);
	blk_file_close(&drive->file);
}

size_t vm_config_find_drive(const struct vm_config *config, const char *drive_id)
{
	size_t i = 0;

	while (i < config->drive_count &&
	       strcmp(config->drives[i].config.drive_id, drive_id) != 0) {
		i++;
	}
	return i;
}

/* It goes to the kernel command line, a word of it. */
static int check_partuuid(const char *partuuid, struct error *err)
{
	for (size_t i = 0; partuuid[i] != '\0'; i++) {
		if (partuuid[i] <= ' ' || partuuid[i] > '~') {
			return error_set(err, ERR_BAD_REQUEST,
					 "The kernel command line is invalid: character %zu of "
					 "partuuid is a space or not printable ASCII",
					 i + 1);
		}
	}
	return 0;
}

static int check_drive(const struct blk_config *drive, struct error *err)
{
	/* [compat] A file or a socket, and a socket with nothing that is of files only. */
	bool is_of_file = drive->path_on_host != NULL || drive->is_read_only ||
			  drive->has_rate_limiter || drive->io_engine != BLK_ENGINE_SYNC;

	if (drive->socket != NULL && !is_of_file) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "This build of squib does not have vhost-user backends: leave out "
				 "`socket`, and give the drive a path_on_host");
	}
	if (drive->socket != NULL || drive->path_on_host == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Unable to create the virtio block device: Invalid block config.");
	}
	if (drive->num_queues > BLK_QUEUES_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Unable to create the virtio block device: Invalid block config: "
				 "num_queues is %u, more than the limit of %d",
				 drive->num_queues, BLK_QUEUES_MAX);
	}
	return drive->partuuid != NULL ? check_partuuid(drive->partuuid, err) : 0;
}

/* The root device is the first, so that its name in the guest is known; the old first swaps. */
static void store_drive(struct vm_config *config, const struct drive *drive, size_t at)
{
	if (at == config->drive_count) {
		config->drive_count++;
		if (drive->config.is_root_device) {
			memmove(&config->drives[1], &config->drives[0], at * sizeof(*drive));
			at = 0;
		}
	} else {
		drive_destroy(&config->drives[at]);
		if (drive->config.is_root_device) {
			config->drives[at] = config->drives[0];
			at = 0;
		}
	}
	config->drives[at] = *drive;
}

int vm_config_put_drive(struct vm_config *config, struct blk_config *drive, struct error *err)
{
	size_t at = vm_config_find_drive(config, drive->drive_id);
	struct drive added = {.file = {.fd = -1}};
	void *list = config->drives;

	if (drive->is_root_device && at != 0 && config->drive_count > 0 &&
	    config->drives[0].config.is_root_device) {
		return error_set(err, ERR_BAD_REQUEST, "A root block device already exists!");
	}
	if (check_drive(drive, err) < 0) {
		return -1;
	}
	if (at == config->drive_count) {
		if (grow(&list, at, sizeof(added), err) < 0) {
			return -1;
		}
		config->drives = list;
	}
	if (blk_file_open(drive->path_on_host, drive->is_read_only, &added.file, err) < 0) {
		return error_wrap(err, "Unable to create the virtio block device: Virtio backend "
				       "error");
	}
	added.config = *drive;
	tidy_limits(&added.config.rate_limiter, &added.config.has_rate_limiter);
	store_drive(config, &added, at);
	*drive = (struct blk_config){0};
	return 0;
}

/* --- Network interfaces --- */

static void net_destroy(struct net_interface *net)
{
	free(net->config.iface_id);
	free(net->config.host_dev_name);
	free(net->config.guest_mac);
	fd_close(&net->tap);
}

size_t vm_config_find_net(const struct vm_config *config, const char *iface_id)
{
	size_t i = 0;

	while (i < config->net_count && strcmp(config->nets[i].config.iface_id, iface_id) != 0) {
		i++;
	}
	return i;
}

static int check_mac(const struct vm_config *config, const struct net_config *net, size_t at,
		     struct error *err)
{
	uint8_t mac[NET_MAC_LEN];

	if (net_mac_parse(net->guest_mac, mac, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < config->net_count; i++) {
		const char *other = config->nets[i].config.guest_mac;

		if (i != at && other != NULL && strcmp(other, net->guest_mac) == 0) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The MAC address is already in use: %s", other);
		}
	}
	return 0;
}

/*
 * A TAP has one queue, so a second open of a name fails: the interface that is replaced hands its
 * own on. Of a descriptor the host would not notice that two devices read it.
 */
static int open_tap(struct vm_config *config, const struct net_config *net, size_t at, int *tap,
		    struct error *err)
{
	bool is_inherited = strncmp(net->host_dev_name, "fd:", 3) == 0;

	for (size_t i = 0; i < config->net_count; i++) {
		struct net_interface *other = &config->nets[i];

		if (strcmp(other->config.host_dev_name, net->host_dev_name) != 0) {
			continue;
		}
		if (i == at) {
			*tap = fd_take(&other->tap);
			return 0;
		}
		if (is_inherited) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Could not create the network device: Open tap device "
					 "failed: %s is that of another interface",
					 net->host_dev_name);
		}
	}
	return net_tap_open(net->host_dev_name, tap, err);
}

/* [compat] The last interface takes the place of one that is replaced, which becomes the last. */
static void store_net(struct vm_config *config, const struct net_interface *net, size_t at)
{
	if (at < config->net_count) {
		net_destroy(&config->nets[at]);
		config->net_count--;
		config->nets[at] = config->nets[config->net_count];
	}
	config->nets[config->net_count++] = *net;
}

int vm_config_put_net(struct vm_config *config, struct net_config *net, struct error *err)
{
	size_t at = vm_config_find_net(config, net->iface_id);
	struct net_interface added = {.tap = -1};
	void *list = config->nets;

	if (net->guest_mac != NULL && check_mac(config, net, at, err) < 0) {
		return -1;
	}
	if (net->mtu != 0 && net->mtu < NET_MTU_MIN) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Could not create the network device: MTU %u is out of range [%d, "
				 "65535]",
				 net->mtu, NET_MTU_MIN);
	}
	if (at == config->net_count) {
		if (grow(&list, at, sizeof(added), err) < 0) {
			return -1;
		}
		config->nets = list;
	}
	if (open_tap(config, net, at, &added.tap, err) < 0) {
		return -1;
	}
	added.config = *net;
	tidy_limits(&added.config.rx_rate_limiter, &added.config.has_rx_rate_limiter);
	tidy_limits(&added.config.tx_rate_limiter, &added.config.has_tx_rate_limiter);
	store_net(config, &added, at);
	*net = (struct net_config){0};
	return 0;
}

/* --- The socket device --- */

static void vsock_destroy(struct vsock_socket *vsock)
{
	free(vsock->config.vsock_id);
	free(vsock->config.uds_path);
	fd_close(&vsock->listener);
	*vsock = (struct vsock_socket){.listener = -1};
}

static bool is_same_file(const char *path, const char *other)
{
	struct stat a;
	struct stat b;

	return lstat(path, &a) == 0 && lstat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static void remove_socket(const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT) {
		log_warn("Cannot remove the socket of the vsock device before, %s: %s", path,
			 error_os_text(errno));
	}
}

int vm_config_put_vsock(struct vm_config *config, struct vsock_config *vsock, struct error *err)
{
	struct vsock_socket *old = &config->vsock;
	struct vsock_socket added = {.listener = -1};
	bool has_old = old->config.uds_path != NULL;

	/* Its file is only in the way of the new one where it is the same. */
	if (has_old && is_same_file(old->config.uds_path, vsock->uds_path)) {
		remove_socket(old->config.uds_path);
		vsock_destroy(old);
		has_old = false;
	}
	if (vsock_listen(vsock->uds_path, &added.listener, err) < 0) {
		return -1;
	}
	/* Its file may have been removed by somebody, and its path be the new one's. */
	if (has_old && !is_same_file(old->config.uds_path, vsock->uds_path)) {
		remove_socket(old->config.uds_path);
	}
	vsock_destroy(old);
	added.config = *vsock;
	config->vsock = added;
	*vsock = (struct vsock_config){0};
	return 0;
}

/* --- Devices that use nothing of the host --- */

void vm_config_put_entropy(struct vm_config *config, const struct rng_config *entropy)
{
	config->entropy = *entropy;
	tidy_limits(&config->entropy.rate_limiter, &config->entropy.has_rate_limiter);
	config->has_entropy = true;
}

int vm_config_put_balloon(struct vm_config *config, const struct balloon_config *balloon,
			  struct error *err)
{
	if (balloon->amount_mib > config->machine.mem_size_mib) {
		return error_set(err, ERR_BAD_REQUEST, "Amount of pages requested is too large.");
	}
	config->balloon = *balloon;
	config->has_balloon = true;
	return 0;
}

void vm_config_destroy_devices(struct vm_config *config)
{
	for (size_t i = 0; i < config->drive_count; i++) {
		drive_destroy(&config->drives[i]);
	}
	for (size_t i = 0; i < config->net_count; i++) {
		net_destroy(&config->nets[i]);
	}
	free(config->drives);
	free(config->nets);
	config->drives = NULL;
	config->nets = NULL;
	config->drive_count = 0;
	config->net_count = 0;
	/* A zeroed one is no descriptor. */
	if (config->vsock.config.uds_path != NULL) {
		vsock_destroy(&config->vsock);
	}
	config->has_entropy = false;
	config->has_balloon = false;
}
