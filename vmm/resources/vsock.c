/* SPDX-License-Identifier: Apache-2.0 */
/* /vsock: the socket device. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/resources/resource.h"

enum field {
	FIELD_VSOCK_ID, /* read and forgotten [compat] */
	FIELD_GUEST_CID,
	FIELD_UDS_PATH,
	FIELD_COUNT
};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_VSOCK_ID] = SCHEMA_FIELD(struct vsock_config, vsock_id, SCHEMA_OPTIONAL),
	[FIELD_GUEST_CID] = SCHEMA_FIELD(struct vsock_config, guest_cid, SCHEMA_REQUIRED),
	[FIELD_UDS_PATH] = SCHEMA_FIELD(struct vsock_config, uds_path, SCHEMA_REQUIRED),
};

enum {
	PORT_SUFFIX_LEN = 11 /* "_4294967295" */
};

static const struct schema schema = SCHEMA("VsockDeviceConfig", struct vsock_config, fields);

static bool is_there(const struct vm_config *config)
{
	return config->vsock.config.uds_path != NULL;
}

static void clear(struct vm_config *config)
{
	if (is_there(config)) {
		schema_free(&schema, &config->vsock.config);
		fd_close(&config->vsock.listener);
	}
	config->vsock = (struct vsock_socket){.listener = -1};
}

static json_t *show(const struct vm_config *config)
{
	return is_there(config) ? schema_encode(&schema, &config->vsock.config,
						SCHEMA_ALL & ~(UINT64_C(1) << FIELD_VSOCK_ID))
				: json_null();
}

/* --- PUT --- */

static int check(struct request *request, struct error *err)
{
	(void)err;
	if ((request->present & UINT64_C(1) << FIELD_VSOCK_ID) != 0) {
		request->deprecation = "PUT /vsock: vsock_id field is deprecated.";
	}
	return 0;
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

/*
 * 0 to 2 are the hypervisor, loopback and the host, 2^32-1 is any [linux vm_sockets.h]. They are
 * taken all the same [compat]: firecracker-containerd gives every guest 0. Both ways of connecting
 * work, but not what the guest does by its own number.
 */
static void warn_of_reserved_cid(uint32_t cid)
{
	if (cid <= VMADDR_CID_HOST || cid == VMADDR_CID_ANY) {
		log_warn("The guest_cid %u is reserved, and programs in the guest may mistake it; "
			 "3 to 4294967294 are not",
			 cid);
	}
}

/* The guest's connections go to sockets that are named <uds_path>_<port>. */
static void warn_of_long_path(const char *path)
{
	size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 - strlen(path);

	if (room < PORT_SUFFIX_LEN) {
		log_warn("The uds_path %s is so long that connections of the guest to ports with "
			 "more than %zu digits can't be made: at most %zu bytes leave room for all "
			 "ports",
			 path, room > 0 ? room - 1 : 0,
			 sizeof(((struct sockaddr_un *)0)->sun_path) - 1 - PORT_SUFFIX_LEN);
	}
}

/*
 * The socket file of the device before is removed; that of the last one stays when the process ends
 * [compat]. Where both have one path, a failure leaves none.
 */
static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	const char *old_path = config->vsock.config.uds_path;
	struct vsock_config *vsock = request->body;
	struct vsock_socket added = {.listener = -1};

	/* The old file is only in the way of the new one where it is the same. */
	if (old_path != NULL && is_same_file(old_path, vsock->uds_path)) {
		remove_socket(old_path);
		clear(config);
		old_path = NULL;
	}
	if (vsock_listen(vsock->uds_path, &added.listener, err) < 0) {
		return -1;
	}
	/* Somebody may have removed the old file, and its path be the new one's. */
	if (old_path != NULL && !is_same_file(old_path, vsock->uds_path)) {
		remove_socket(old_path);
	}
	warn_of_reserved_cid(vsock->guest_cid);
	warn_of_long_path(vsock->uds_path);
	clear(config);
	added.config = *vsock;
	*vsock = (struct vsock_config){0};
	config->vsock = added;
	return 0;
}

/* Or the next try would find its path taken. */
static void undo(const struct vm_config *config)
{
	if (is_there(config)) {
		remove_socket(config->vsock.config.uds_path);
	}
}

/* --- The machine's device --- */

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	const struct vsock_socket *socket = &microvm->config.vsock;
	const struct dev_env env = devmgr_env(at->devmgr);
	struct vsock *vsock;

	if (!is_there(&microvm->config)) {
		return 0;
	}
	if (vsock_new(&env, &socket->config, socket->listener, &vsock, err) < 0 ||
	    devmgr_attach(at, vsock_virtio(vsock), NULL, err) < 0) {
		return error_wrap(err, "Cannot attach the socket device");
	}
	return 0;
}

const struct resource vsock_resource = {
	.path = {"vsock"},
	.is_for_boot = true,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .prefix = "Vsock config error",
			      .check = check,
			      .run = put,
			      PUTS(vsock)},
	.key = "vsock",
	.file_prefix = "Vsock device error",
	.need = SCHEMA_OPTIONAL,
	.turn = 8,
	.show = show,
	.metrics = &vsock_metric_group,
	.attach = attach,
	.clear = clear,
	.undo = undo,
};
