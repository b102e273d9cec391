/* SPDX-License-Identifier: Apache-2.0 */
/* /mmds: the guest's metadata; /mmds/config: how it gets them. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "devices/mmds/mmds_json.h"
#include "vmm/resources/resource.h"

/* --- The service --- */

/* Makes it, unless it is there. */
static int want_mmds(struct microvm *microvm, struct error *err)
{
	struct metadata *metadata = &microvm->config.metadata;
	const struct controller *controller = &microvm->controller;

	if (metadata->mmds != NULL) {
		return 0;
	}
	if (mmds_new(controller->id, microvm->metadata_max, &clock_host, &metadata->mmds, err) <
	    0) {
		return -1;
	}
	metadata->metrics = &controller->telemetry->metrics;
	metrics_add(metadata->metrics, &metadata->source, &mmds_metric_group,
		    mmds_metrics(metadata->mmds));
	return 0;
}

static void clear_mmds(struct vm_config *config)
{
	struct metadata *metadata = &config->metadata;

	if (metadata->mmds != NULL) {
		metrics_remove(metadata->metrics, &metadata->source);
		mmds_free(metadata->mmds);
		metadata->mmds = NULL;
	}
}

/* --- Data --- */

static int check_data(struct request *request, struct error *err)
{
	const struct json_doc *text = &request->unread;

	if (mmds_json_load(text->text, text->len, text->fault, &request->content, err) < 0) {
		return -1;
	}
	request->content_len = mmds_json_print(request->content, NULL);
	return 0;
}

/* [compat] A machine that was started without a configuration of the service has no data. */
static int want_data(struct microvm *microvm, struct error *err)
{
	if (microvm->controller.state != VM_NOT_STARTED &&
	    microvm->config.metadata.config.network_interfaces.count == 0) {
		return mmds_refuse(err);
	}
	return want_mmds(microvm, err);
}

static COLD int fail(struct error *err)
{
	return error_wrap(err,
			  err->kind == ERR_NO_ROOM ? "MMDS limit exceeded error" : "MMDS error");
}

static int get_data(struct microvm *microvm, struct request *request, struct error *err)
{
	if (want_data(microvm, err) < 0) {
		return fail(err);
	}
	request->stored = mmds_data(microvm->config.metadata.mmds);
	return 0;
}

static int print_data(struct request *request, struct error *err)
{
	return mmds_print(request->stored, &request->text, &request->text_len, err) < 0 ? fail(err)
											: 0;
}

/* The old data go with the request, on the thread that asks. */
static int put_data(struct microvm *microvm, struct request *request, struct error *err)
{
	if (want_data(microvm, err) < 0 ||
	    mmds_put(microvm->config.metadata.mmds, &request->content, request->content_len, err) <
		    0) {
		return fail(err);
	}
	return 0;
}

static int begin_patch(struct microvm *microvm, struct request *request, struct error *err)
{
	if (want_data(microvm, err) < 0 || mmds_want_data(microvm->config.metadata.mmds, err) < 0) {
		return fail(err);
	}
	request->stored = mmds_data(microvm->config.metadata.mmds);
	return 0;
}

static int merge_data(struct request *request, struct error *err)
{
	json_t *merged;

	if (mmds_merge(request->stored, request->content, &merged, err) < 0) {
		return fail(err);
	}
	json_decref(request->content);
	request->content = merged;
	request->content_len = mmds_json_print(merged, NULL);
	return 0;
}

static int commit_patch(struct microvm *microvm, struct request *request, struct error *err)
{
	struct mmds *mmds = microvm->config.metadata.mmds;

	return mmds_patch(mmds, &request->content, request->content_len, err) < 0 ? fail(err) : 0;
}

int metadata_load(struct microvm *microvm, const char *text, size_t len, struct error *err)
{
	json_t *document;
	int result;

	if (want_mmds(microvm, err) < 0) {
		return -1;
	}
	if (mmds_json_load(text, len, "Invalid JSON", &document, err) < 0) {
		return error_wrap(err, "MMDS error: metadata provided not valid json");
	}
	result = mmds_put(microvm->config.metadata.mmds, &document, mmds_json_print(document, NULL),
			  err);
	json_decref(document);
	return result < 0 ? error_wrap(err, "Populating MMDS from file failed") : 0;
}

const struct resource mmds_resource = {
	.path = {"mmds"},
	.methods =
		{
			[HTTP_GET] = {.states = ALWAYS,
				      .run = get_data,
				      .finish = print_data,
				      GETS(mmds)},
			[HTTP_PUT] = {.states = ALWAYS,
				      .body = BODY_TEXT,
				      .check = check_data,
				      .run = put_data,
				      PUTS(mmds)},
			[HTTP_PATCH] = {.states = ALWAYS,
					.body = BODY_TEXT,
					.check = check_data,
					.run = begin_patch,
					.finish = merge_data,
					.commit = commit_patch,
					PATCHES(mmds)},
		},
	.metrics = &mmds_metric_group,
	.clear = clear_mmds,
};

/* --- Configuration --- */

enum field {
	FIELD_VERSION,
	FIELD_NETWORK_INTERFACES,
	FIELD_IPV4_ADDRESS,
	FIELD_IMDS_COMPAT,
	FIELD_COUNT
};

static const char *const version_names[] = {[MMDS_V1] = "V1", [MMDS_V2] = "V2", NULL};

static const struct schema_field fields[FIELD_COUNT] = {
	[FIELD_VERSION] =
		SCHEMA_ENUM_FIELD(struct metadata_config, version, SCHEMA_DEFAULTED, version_names),
	[FIELD_NETWORK_INTERFACES] = SCHEMA_LIST_FIELD(struct metadata_config, network_interfaces,
						       SCHEMA_REQUIRED, NULL),
	[FIELD_IPV4_ADDRESS] = SCHEMA_FIELD(struct metadata_config, ipv4_address, SCHEMA_OPTIONAL),
	[FIELD_IMDS_COMPAT] = SCHEMA_FIELD(struct metadata_config, imds_compat, SCHEMA_DEFAULTED),
};

static const struct schema schema = SCHEMA("MmdsConfig", struct metadata_config, fields);

static void clear_config(struct vm_config *config)
{
	schema_free(&schema, &config->metadata.config);
	config->metadata.config = (struct metadata_config){0};
}

static json_t *show_config(const struct vm_config *config)
{
	const struct metadata_config *shown = &config->metadata.config;

	return resource_show(shown->network_interfaces.count > 0, &schema, shown);
}

/* [compat] A wrong address is a fault of the JSON, behind its closing quote. */
static int check_address(const struct json_value *json, const struct metadata_config *body,
			 struct error *err)
{
	struct json_member member = json_member_first(json);
	struct in_addr address;

	if (body->ipv4_address == NULL || inet_pton(AF_INET, body->ipv4_address, &address) == 1) {
		return 0;
	}
	while (strcmp(member.key, fields[FIELD_IPV4_ADDRESS].name) != 0) {
		member = json_member_next(json, &member);
	}
	error_set(err, ERR_BAD_REQUEST, "invalid IPv4 address syntax");
	json_error_at(err, json->doc, json_value_end(&member.value));
	return json_fault(err, json->doc);
}

static int check_config(struct request *request, struct error *err)
{
	const struct metadata_config *body = request->body;

	if (check_address(request->json, body, err) < 0) {
		return -1;
	}
	if (body->version == MMDS_V1) {
		request->deprecation = "PUT /mmds/config: V1 is deprecated. Use V2 instead.";
	}
	return 0;
}

/* From 169.254.1.0 to 169.254.254.255 [RFC 3927]. */
static bool is_link_local(const uint8_t address[4])
{
	return address[0] == 169 && address[1] == 254 && address[2] >= 1 && address[2] <= 254;
}

static bool has_interface(const struct vm_config *config, const char *id)
{
	size_t i = 0;

	while (i < config->net_count && strcmp(config->nets[i].config.iface_id, id) != 0) {
		i++;
	}
	return i < config->net_count;
}

static int check_interfaces(const struct vm_config *config, const struct schema_list *ids,
			    struct error *err)
{
	char *const *names = ids->items;

	if (ids->count == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The list of network interface IDs that allow forwarding MMDS "
				 "requests is empty.");
	}
	for (size_t i = 0; i < ids->count; i++) {
		if (!has_interface(config, names[i])) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The list of network interface IDs provided contains at "
					 "least one ID that does not correspond to any existing "
					 "network interface.");
		}
	}
	return 0;
}

/* The body is in order: an address that is not given is the usual one, which GET shows. */
static int read_settings(struct metadata_config *body, struct mmds_settings *settings,
			 struct error *err)
{
	settings->version = body->version;
	settings->imds_compat = body->imds_compat;
	if (body->ipv4_address == NULL) {
		body->ipv4_address = strdup("169.254.169.254");
	}
	if (body->ipv4_address == NULL) {
		return error_sys(err, "Cannot keep the configuration");
	}
	(void)inet_pton(AF_INET, body->ipv4_address, settings->address);
	return 0;
}

static int put_config(struct microvm *microvm, struct request *request, struct error *err)
{
	struct metadata *metadata = &microvm->config.metadata;
	struct metadata_config *body = request->body;
	struct mmds_settings settings = {0};

	if (read_settings(body, &settings, err) < 0) {
		return -1;
	}
	if (!is_link_local(settings.address)) {
		return error_set(err, ERR_BAD_REQUEST, "The MMDS IPv4 address is not link local.");
	}
	if (check_interfaces(&microvm->config, &body->network_interfaces, err) < 0 ||
	    want_mmds(microvm, err) < 0) {
		return -1;
	}
	mmds_configure(metadata->mmds, &settings);
	clear_config(&microvm->config);
	metadata->config = *body;
	*body = (struct metadata_config){0};
	return 0;
}

/* --- The machine's interfaces --- */

static int answer(void *arg, const char *request, size_t len, struct mmds_reply *reply)
{
	struct mmds_response response;

	if (mmds_handle(arg, request, len, &response) < 0) {
		return -1;
	}
	*reply = (struct mmds_reply){
		.data = response.text,
		.len = response.len,
		.owner = response.text,
	};
	return 0;
}

static void release(void *arg, struct mmds_reply *reply)
{
	(void)arg;
	free(reply->owner);
}

/* On a host without entropy yet the time has to do: only the guest itself could use a guess. */
static uint32_t choose_isn(void *arg)
{
	uint32_t isn;

	(void)arg;
	if (getrandom(&isn, sizeof(isn), GRND_NONBLOCK) != (ssize_t)sizeof(isn)) {
		isn = (uint32_t)clock_host.now_ns(CLOCK_MONOTONIC);
	}
	return isn;
}

static bool is_listed(const struct schema_list *ids, const char *id)
{
	char *const *names = ids->items;
	size_t i = 0;

	while (i < ids->count && strcmp(names[i], id) != 0) {
		i++;
	}
	return i < ids->count;
}

int metadata_check(const struct microvm *microvm, const struct net_interface *interface,
		   struct error *err)
{
	bool is_unseen = net_interface_is_remote(interface) || interface->config.vhost;

	if (is_unseen && is_listed(&microvm->config.metadata.config.network_interfaces,
				   interface->config.iface_id)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "the metadata service can't be on an interface with %s, whose "
				 "frames squib does not see",
				 interface->config.vhost ? "`vhost`" : "a back-end of vhost-user");
	}
	return 0;
}

int metadata_attach(const struct microvm *microvm, const struct net_interface *interface,
		    struct error *err)
{
	const struct metadata *metadata = &microvm->config.metadata;
	struct mmds_stack_params params = {
		.mac = {0x06, 0x01, 0x23, 0x45, 0x67, 0x01}, /* [compat] */
		.service = {.answer = answer,
			    .release = release,
			    .choose_isn = choose_isn,
			    .arg = metadata->mmds},
	};

	if (!is_listed(&metadata->config.network_interfaces, interface->config.iface_id)) {
		return 0;
	}
	params.metrics = mmds_metrics(metadata->mmds);
	memcpy(params.ipv4, mmds_settings(metadata->mmds)->address, sizeof(params.ipv4));
	return net_set_mmds(interface->net, &params, err);
}

void metadata_detach(struct microvm *microvm, const char *iface_id)
{
	struct schema_list *ids = &microvm->config.metadata.config.network_interfaces;
	char **names = ids->items;

	for (size_t i = 0; i < ids->count; i++) {
		if (strcmp(names[i], iface_id) == 0) {
			free(names[i]);
			ids->count--;
			memmove(&names[i], &names[i + 1], (ids->count - i) * sizeof(*names));
			return;
		}
	}
}

const struct resource mmds_config_resource = {
	.path = {"mmds", "config"},
	.is_for_boot = true,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .prefix = "MMMDS config error", /* [compat] */
			      .check = check_config,
			      .run = put_config,
			      PUTS(mmds)},
	.key = "mmds-config",
	.file_prefix = "MMDS config error",
	.need = SCHEMA_OPTIONAL,
	.turn = 10,
	.show = show_config,
	.clear = clear_config,
};
