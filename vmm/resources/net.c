/* SPDX-License-Identifier: Apache-2.0 */
/* /network-interfaces/{id}: network devices on TAPs or other processes. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "devices/virtio/net/net_kernel.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/unix_connect.h"
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/unplug.h"

/* --- Bodies --- */

enum field {
	FIELD_IFACE_ID,
	FIELD_HOST_DEV_NAME,
	FIELD_GUEST_MAC,
	FIELD_MTU,
	FIELD_QUEUE_PAIRS,
	FIELD_RX_RATE_LIMITER,
	FIELD_TX_RATE_LIMITER,
	FIELD_BACKEND,
	FIELD_VHOST,
	FIELD_COUNT
};

#define FIELD_BIT(field) (UINT64_C(1) << (field))

/* In the order of enum net_backend_type. */
static const char *const backend_names[] = {"stream", "vhost-user", NULL};

static const struct schema_field backend_fields[] = {
	SCHEMA_ENUM_FIELD(struct net_backend, type, SCHEMA_REQUIRED, backend_names),
	SCHEMA_FIELD(struct net_backend, socket, SCHEMA_REQUIRED),
};

const struct schema net_backend_schema =
	SCHEMA("NetworkBackend", struct net_backend, backend_fields);

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_IFACE_ID] = SCHEMA_FIELD(struct net_config, iface_id, SCHEMA_REQUIRED),
	[FIELD_HOST_DEV_NAME] = SCHEMA_FIELD(struct net_config, host_dev_name, SCHEMA_REQUIRED),
	[FIELD_GUEST_MAC] = SCHEMA_FIELD(struct net_config, guest_mac, SCHEMA_OPTIONAL),
	[FIELD_MTU] = SCHEMA_FIELD(struct net_config, mtu, SCHEMA_OPTIONAL),
	[FIELD_QUEUE_PAIRS] = SCHEMA_FIELD(struct net_config, queue_pairs, SCHEMA_OPTIONAL),
	[FIELD_RX_RATE_LIMITER] = SCHEMA_OBJECT_FIELD(struct net_config, rx_rate_limiter,
						      SCHEMA_OPTIONAL, &rate_limiter_schema),
	[FIELD_TX_RATE_LIMITER] = SCHEMA_OBJECT_FIELD(struct net_config, tx_rate_limiter,
						      SCHEMA_OPTIONAL, &rate_limiter_schema),
	[FIELD_BACKEND] = SCHEMA_OBJECT_FIELD(struct net_config, backend, SCHEMA_OPTIONAL,
					      &net_backend_schema),
	[FIELD_VHOST] = SCHEMA_FIELD(struct net_config, vhost, SCHEMA_OPTIONAL),
};

static const struct schema schema = {
	.name = "NetworkInterfaceConfig",
	.fields = fields,
	.count = FIELD_COUNT,
	.size = sizeof(struct net_config),
	.either = FIELD_HOST_DEV_NAME,
	.or_else = FIELD_BACKEND,
};

struct net_update {
	char *iface_id;
	struct limiter_config rx_rate_limiter;
	bool has_rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
	bool has_tx_rate_limiter;
};

static const struct schema_field update_fields[] = {
	SCHEMA_FIELD(struct net_update, iface_id, SCHEMA_REQUIRED),
	SCHEMA_OBJECT_FIELD(struct net_update, rx_rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
	SCHEMA_OBJECT_FIELD(struct net_update, tx_rate_limiter, SCHEMA_OPTIONAL,
			    &rate_limiter_schema),
};

static const struct schema update_schema =
	SCHEMA("NetworkInterfaceUpdateConfig", struct net_update, update_fields);

/* The sentence is not that of the other devices [compat]. */
static int check_id(struct request *request, struct error *err)
{
	const char *id = *(const char *const *)request->body;
	char in_path[JSON_QUOTE_LEN];
	char in_body[JSON_QUOTE_LEN];

	if (request->id == NULL || strcmp(request->id, id) == 0) {
		return 0;
	}
	json_quote(request->id, strlen(request->id), in_path, sizeof(in_path));
	json_quote(id, strlen(id), in_body, sizeof(in_body));
	return error_set(err, ERR_BAD_REQUEST,
			 "The id from the path [%s] does not match the id from the body [%s]!",
			 in_path, in_body);
}

/* [compat] A wrong address is a fault of the JSON. */
static int check_mac(const struct json_value *json, struct net_config *net, struct error *err)
{
	uint8_t mac[NET_MAC_LEN];
	struct error cause = {0};

	if (net->guest_mac == NULL || net_mac_parse(net->guest_mac, mac, &cause) == 0) {
		return 0;
	}
	error_set(err, ERR_BAD_REQUEST, "The provided MAC address is invalid.");
	json_error_after_member(err, json, fields[FIELD_GUEST_MAC].name);
	return json_fault(err, json->doc);
}

static int check(struct request *request, struct error *err)
{
	struct net_config *net = request->body;

	if (check_mac(request->json, net, err) < 0) {
		return -1;
	}
	if (net->has_backend && net->host_dev_name != NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The interface %s has a `host_dev_name` and a `backend`: give "
				 "one of them",
				 net->iface_id);
	}
	return check_id(request, err);
}

/* --- The configuration --- */

static void interface_destroy(struct net_interface *interface)
{
	schema_free(&schema, &interface->config);
	net_tap_close(&interface->tap);
	fd_close(&interface->connection);
	vhost_link_close(&interface->link);
}

/* The place of an interface in the list, or the list's length: there is no such interface. */
static size_t find(const struct vm_config *config, const char *iface_id)
{
	size_t i = 0;

	while (i < config->net_count && strcmp(config->nets[i].config.iface_id, iface_id) != 0) {
		i++;
	}
	return i;
}

static void clear(struct vm_config *config)
{
	for (size_t i = 0; i < config->net_count; i++) {
		interface_destroy(&config->nets[i]);
	}
	free(config->nets);
	config->nets = NULL;
	config->net_count = 0;
}

/* What Firecracker does not know is shown only where it was given [compat]. */
static json_t *show(const struct vm_config *config)
{
	json_t *list = json_array();

	for (size_t i = 0; i < config->net_count; i++) {
		const struct net_config *interface = &config->nets[i].config;
		uint64_t hidden =
			FIELD_BIT(interface->has_backend ? FIELD_HOST_DEV_NAME : FIELD_BACKEND);

		hidden |= interface->queue_pairs == 0 ? FIELD_BIT(FIELD_QUEUE_PAIRS) : 0;
		hidden |= !interface->vhost ? FIELD_BIT(FIELD_VHOST) : 0;
		json_t *net = schema_encode(&schema, interface, SCHEMA_ALL & ~hidden);

		if (json_array_append_new(list, net) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* --- PUT --- */

/* An absent MTU is 0 in the configuration, so a client can't give that. */
static int check_mtu(const struct net_config *net, uint64_t present, struct error *err)
{
	if ((present & FIELD_BIT(FIELD_MTU)) != 0 && net->mtu < NET_MTU_MIN) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Could not create the network device: MTU %u is out of range "
				 "[%d, 65535]",
				 net->mtu, NET_MTU_MIN);
	}
	return 0;
}

static unsigned queue_pairs(const struct net_config *net)
{
	return net->queue_pairs > 0 ? net->queue_pairs : 1;
}

static int check_queue_pairs(const struct net_config *net, uint64_t present, struct error *err)
{
	bool is_given = (present & FIELD_BIT(FIELD_QUEUE_PAIRS)) != 0;

	if (is_given && (net->queue_pairs == 0 || net->queue_pairs > NET_PAIRS_MAX)) {
		return error_set(err, ERR_BAD_REQUEST, "queue_pairs is %u, and not 1 to %d",
				 net->queue_pairs, NET_PAIRS_MAX);
	}
	if (net->has_backend && net->queue_pairs > 1) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The interface %s has a back-end, which serves one pair of "
				 "queues: `queue_pairs` is for a TAP",
				 net->iface_id);
	}
	return 0;
}

/* Linux replaces such an address by a random one, which squib and its client would not know. */
static int check_mac_is_usable(const char *text, struct error *err)
{
	bool is_multicast = (strtoul(text, NULL, 16) & 1) != 0;

	if (is_multicast || strcmp(text, "00:00:00:00:00:00") == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The guest_mac %s is %s: give the interface a unicast address, "
				 "e.g. one that begins with 06",
				 text, is_multicast ? "a multicast address" : "all zero");
	}
	return 0;
}

static int check_mac_is_free(const struct vm_config *config, const struct net_config *net,
			     size_t at, struct error *err)
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

static bool is_remote(const struct net_config *net)
{
	return net->has_backend && net->backend.type == NET_BACKEND_VHOST_USER;
}

/* What the kernel's vhost-net does not do, and whether it is there. */
static int check_vhost(const struct net_config *net, struct error *err)
{
	const struct {
		bool is_asked;
		const char *why;
	} rules[] = {
		{net->has_backend, "a `backend`, and vhost-net serves a TAP"},
		{net->queue_pairs > 1, "several `queue_pairs`, and squib has it serve one"},
		{net->has_rx_rate_limiter || net->has_tx_rate_limiter,
		 "rate limiters, and squib does not see its frames"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
		if (rules[i].is_asked) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The interface %s has `vhost` and %s: leave one of them "
					 "out",
					 net->iface_id, rules[i].why);
		}
	}
	return net_kernel_check(err) < 0 ? error_wrap(err, "Could not create the network device")
					 : 0;
}

static int check_net(const struct vm_config *config, const struct request *request, size_t at,
		     struct error *err)
{
	const struct net_config *net = request->body;

	if (net->vhost && check_vhost(net, err) < 0) {
		return -1;
	}
	if (is_remote(net) && (net->has_rx_rate_limiter || net->has_tx_rate_limiter)) {
		return error_set(
			err, ERR_BAD_REQUEST,
			"The interface %s has a back-end of vhost-user, whose frames squib "
			"does not see: it can't have rate limiters",
			net->iface_id);
	}
	if (net->guest_mac != NULL && (check_mac_is_free(config, net, at, err) < 0 ||
				       check_mac_is_usable(net->guest_mac, err) < 0)) {
		return -1;
	}
	return check_mtu(net, request->present, err) < 0
		       ? -1
		       : check_queue_pairs(net, request->present, err);
}

/* What the kernel does not refuse: descriptors of one TAP, and more queues of one that has several.
 */
static int check_tap_is_free(const struct vm_config *config, const struct net_config *net,
			     size_t at, const struct net_tap *tap, struct error *err)
{
	for (size_t i = 0; i < config->net_count; i++) {
		if (i != at && net_tap_is_same(&config->nets[i].tap, tap)) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Could not create the network device: Open tap device "
					 "failed: %s is that of another interface",
					 net->host_dev_name);
		}
	}
	return 0;
}

/* Takes the strings of *body. */
static void keep_config(struct net_interface *interface, struct net_config *body)
{
	struct net_config *config = &interface->config;

	*config = *body;
	*body = (struct net_config){0};
	rate_limiter_tidy(&config->rx_rate_limiter, &config->has_rx_rate_limiter);
	rate_limiter_tidy(&config->tx_rate_limiter, &config->has_tx_rate_limiter);
}

static int connect_backend(const struct net_config *net, struct net_interface *added,
			   struct error *err)
{
	int result = is_remote(net) ? vhost_net_open(net, &added->link, err)
				    : unix_connect(net->backend.socket, &added->connection, err);

	return result < 0 ? error_wrap(err, "Could not create the network device") : 0;
}

/* --- PUT and DELETE on a machine that was started --- */

static int make_device(const struct dev_env *env, struct net_interface *interface,
		       struct error *err)
{
	return interface->config.has_backend
		       ? net_new_stream(env, &interface->config, &interface->connection,
					&interface->net, err)
		       : net_new(env, &interface->config, &interface->tap, &interface->net, err);
}

static int refuse_vhost(const char *what, const char *why, struct error *err)
{
	return error_set(err, ERR_NOT_SUPPORTED,
			 "An interface with `vhost` can't be %s: %s. Put it before the start", what,
			 why);
}

/* [compat] Without the metadata service, which is configured before the start. */
static int plug_interface(struct microvm *microvm, struct request *request,
			  struct net_interface *interface, struct error *err)
{
	const struct dev_env env = devmgr_env(&microvm->controller.machine.devmgr);

	if (make_device(&env, interface, err) < 0) {
		return error_wrap(err, "Could not create the network device");
	}
	return resource_plug(microvm, request, net_virtio(interface->net),
			     interface->config.iface_id, err);
}

static int plug(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	struct net_config *body = request->body;
	struct net_interface added = NET_INTERFACE_NONE;
	size_t at = find(config, body->iface_id);
	void *list = config->nets;

	if (resource_check_plug(microvm, request, at == config->net_count, resource_id_in_use,
				err) < 0 ||
	    (body->vhost && refuse_vhost("plugged in",
					 "the filter of a machine that runs has no "
					 "call to begin with it",
					 err) < 0) ||
	    check_net(config, request, at, err) < 0 ||
	    resource_list_grow(&list, config->net_count, sizeof(added), err) < 0) {
		return -1;
	}
	config->nets = list;
	if (is_remote(body)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "An interface with a back-end of vhost-user can't be plugged in: "
				 "the machine's memory is shared with back-ends from the start on, "
				 "or not at all. Put it before the start");
	}
	if (body->has_backend ? connect_backend(body, &added, err) < 0
			      : net_tap_open_running(body->host_dev_name, queue_pairs(body),
						     &added.tap, err) < 0) {
		return -1;
	}
	/* A TAP with one queue the kernel gives to one alone, and the filter knows no way to ask.
	 */
	if (added.tap.count > 1 && check_tap_is_free(config, body, at, &added.tap, err) < 0) {
		interface_destroy(&added);
		return -1;
	}
	keep_config(&added, body);
	if (plug_interface(microvm, request, &added, err) < 0) {
		interface_destroy(&added);
		return -1;
	}
	config->nets[config->net_count++] = added;
	return 0;
}

static int unplug(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	size_t at = find(config, request->id);

	if (resource_check_plug(microvm, request, at < config->net_count, resource_device_not_found,
				err) < 0) {
		return -1;
	}
	if (net_interface_is_remote(&config->nets[at])) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "The interface %s is served by another process, and can't be "
				 "unplugged",
				 request->id);
	}
	if (config->nets[at].config.vhost) {
		return refuse_vhost("unplugged", "it goes on until the machine ends", err);
	}
	return unplug_begin(microvm, request, net_virtio(config->nets[at].net), -1, err);
}

static int unplugged(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	size_t at = find(config, request->id);

	assert(at < config->net_count); /* it stays until then: unplug() has found it */
	struct net_interface *interface = &config->nets[at];

	if (unplug_end(microvm, request, net_virtio(interface->net), err) < 0) {
		return -1;
	}
	metadata_detach(microvm, interface->config.iface_id);
	interface_destroy(interface);
	config->net_count--;
	memmove(interface, interface + 1, (config->net_count - at) * sizeof(*interface));
	return 0;
}

/* --- PUT before the start --- */

/*
 * A TAP has one queue, so a second open of a name fails: the interface that is replaced hands its
 * own on. Of a descriptor the host would not notice that two devices read it.
 */
static int open_tap(struct microvm *microvm, const struct net_config *net, size_t at,
		    struct net_tap *tap, struct error *err)
{
	struct vm_config *config = &microvm->config;

	if (at < config->net_count && config->nets[at].tap.count == queue_pairs(net) &&
	    strcmp(config->nets[at].config.host_dev_name, net->host_dev_name) == 0) {
		*tap = config->nets[at].tap;
		config->nets[at].tap = (struct net_tap){0};
		return 0;
	}
	if (microvm->is_forked
		    ? net_tap_open_running(net->host_dev_name, queue_pairs(net), tap, err) < 0
		    : net_tap_open(net->host_dev_name, queue_pairs(net), tap, err) < 0) {
		return -1;
	}
	if (check_tap_is_free(config, net, at, tap, err) < 0) {
		net_tap_close(tap);
		return -1;
	}
	return 0;
}

/* What the interface needs of the host. */
static int open_host(struct microvm *microvm, size_t at, const struct net_config *net,
		     struct net_interface *added, struct error *err)
{
	struct vm_config *config = &microvm->config;

	if (!net->has_backend) {
		return open_tap(microvm, net, at, &added->tap, err);
	}
	if (at < config->net_count) {
		/* A back-end may have no second connection to give. */
		fd_close(&config->nets[at].connection);
		vhost_link_close(&config->nets[at].link);
	}
	return connect_backend(net, added, err);
}

/* [compat] The last interface takes the place of one that is replaced, which becomes the last. */
static void store(struct vm_config *config, const struct net_interface *interface, size_t at)
{
	if (at < config->net_count) {
		interface_destroy(&config->nets[at]);
		config->net_count--;
		config->nets[at] = config->nets[config->net_count];
	}
	config->nets[config->net_count++] = *interface;
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	if (microvm->controller.state != VM_NOT_STARTED) {
		return plug(microvm, request, err);
	}
	struct vm_config *config = &microvm->config;
	struct net_config *net = request->body;
	size_t at = find(config, net->iface_id);
	struct net_interface added = NET_INTERFACE_NONE;
	void *list = config->nets;

	if (check_net(config, request, at, err) < 0) {
		return -1;
	}
	if (at == config->net_count) {
		if (resource_list_grow(&list, at, sizeof(added), err) < 0) {
			return -1;
		}
		config->nets = list;
	}
	if (open_host(microvm, at, net, &added, err) < 0) {
		return -1;
	}
	keep_config(&added, net);
	store(config, &added, at);
	return 0;
}

/* --- PATCH --- */

static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct net_update *update = request->body;
	size_t at = find(&microvm->config, update->iface_id);

	if (at == microvm->config.net_count) {
		return error_set(err, ERR_BAD_REQUEST, "Unable to update the net device: %s",
				 resource_not_found);
	}
	struct net_interface *interface = &microvm->config.nets[at];

	if (net_interface_is_remote(interface)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Unable to update the net device: its back-end of vhost-user sees "
				 "its frames alone, so that it has no rate limiters");
	}
	if (interface->config.vhost) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Unable to update the net device: with `vhost` squib does not see "
				 "its frames, so that it has no rate limiters");
	}
	if (net_set_limits(
		    interface->net, update->has_rx_rate_limiter ? &update->rx_rate_limiter : NULL,
		    update->has_tx_rate_limiter ? &update->tx_rate_limiter : NULL, err) < 0) {
		return error_wrap(err, "Unable to update the net device");
	}

	struct net_config *config = &interface->config;

	if (update->has_rx_rate_limiter) {
		rate_limiter_note(&config->rx_rate_limiter, &config->has_rx_rate_limiter,
				  &update->rx_rate_limiter);
	}
	if (update->has_tx_rate_limiter) {
		rate_limiter_note(&config->tx_rate_limiter, &config->has_tx_rate_limiter,
				  &update->tx_rate_limiter);
	}
	return 0;
}

/* --- The machine's devices --- */

static int attach_remote(struct net_interface *interface, const struct attachment *at,
			 struct error *err)
{
	const struct dev_env env = devmgr_env(at->devmgr);
	const char *id = interface->config.iface_id;
	struct virtio_dev *dev;

	return vhost_net_new(&env, &interface->config, &interface->link, &dev, err) < 0 ||
			       devmgr_attach(at, dev, id, err) < 0
		       ? error_wrap(err, "Cannot attach the network interface %.64s", id)
		       : 0;
}

static int attach_interface(const struct microvm *microvm, struct net_interface *interface,
			    const struct attachment *at, struct error *err)
{
	const struct dev_env env = devmgr_env(at->devmgr);
	const char *id = interface->config.iface_id;

	if (metadata_check(microvm, interface, err) < 0) {
		return error_wrap(err, "Cannot attach the network interface %.64s", id);
	}
	if (net_interface_is_remote(interface)) {
		return attach_remote(interface, at, err);
	}
	if (make_device(&env, interface, err) < 0) {
		return error_wrap(err, "Cannot attach the network interface %.64s", id);
	}
	if (metadata_attach(microvm, interface, err) < 0) {
		net_free(interface->net);
		return error_wrap(err, "Cannot attach the network interface %.64s", id);
	}
	if (devmgr_attach(at, net_virtio(interface->net), id, err) < 0) {
		return error_wrap(err, "Cannot attach the network interface %.64s", id);
	}
	return 0;
}

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	for (size_t i = 0; i < microvm->config.net_count; i++) {
		if (attach_interface(microvm, &microvm->config.nets[i], at, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* PUT opens another TAP, where there is a bus to plug it into. */
static int allow(const struct microvm *microvm, const struct landlock *landlock, int rules,
		 struct error *err)
{
	static const char path[] = "/dev/net/tun";
	AUTO_FD tun = open(path, O_PATH | O_CLOEXEC);
	const struct landlock_file file = {path, tun, false};

	if (!microvm->controller.machine.devmgr.has_pci || tun < 0) {
		return 0; /* without the device there is no TAP either */
	}
	return landlock_allow(landlock, rules, &file, err);
}

const struct resource net_resource = {
	.path = {"network-interfaces"},
	.is_for_boot = true,
	.has_id = true,
	.methods =
		{
			[HTTP_PUT] = {.states = ALWAYS,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .prefix = "Network config error",
				      .check = check,
				      .run = put,
				      PUTS(network)},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &update_schema,
					.prefix = "Network config error",
					.check = check_id,
					.run = patch,
					PATCHES(network)},
			[HTTP_DELETE] = {.states = AFTER_START,
					 .body = BODY_MAYBE,
					 .schema = &unplug_schema,
					 .run = unplug,
					 .finish = unplug_synchronise,
					 .commit = unplugged},
		},
	.key = "network-interfaces",
	.file_prefix = "Network device error",
	.is_list = true,
	.need = SCHEMA_DEFAULTED,
	.turn = 7,
	.show = show,
	.metrics = &net_metric_group,
	.remote_metrics = &vhost_net_metric_group,
	.attach = attach,
	.allow = allow,
	.clear = clear,
};
