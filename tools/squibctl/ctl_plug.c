/* SPDX-License-Identifier: Apache-2.0 */
/*
 * squibctl plug and unplug.
 *
 * Theory of operation. A device is plugged in by its resource's PUT, and used once a driver of the
 * guest says so, which GET /devices shows. Where that takes long, the guest has to look at its bus,
 * unless it was told by a hot-plug port; one that is paused is not waited for. An id to unplug is
 * looked up there too, for its kind.
 */
#include "tools/squibctl/ctl_plug.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/squibctl/ctl_deadline.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_snapshot.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	PATIENCE_MS = 10 * 1000,
	LOOK_US = 50000,
	PATH_LEN = 256,
};

/* How a kind of device is put. */
struct kind {
	const char *type; /* in GET /devices */
	const char *list, *id_key, *host_key;
	const char *read_only_key; /* NULL: there is no such thing */
};

static const struct kind kinds[] = {
	{"block", "drives", "drive_id", "path_on_host", "is_read_only"},
	{"pmem", "pmem", "id", "path_on_host", "read_only"},
	{"net", "network-interfaces", "iface_id", "host_dev_name", NULL},
};

/* The machine's devices; NULL: *code says why not. */
static json_t *get_devices(int fd, enum ctl_exit *code)
{
	struct ctl_reply reply = {0};
	json_t *list = NULL;

	*code = ctl_request(fd, "GET", "/devices", NULL, &reply);
	if (*code == CTL_EXIT_OK) {
		json_t *answer = json_loads(reply.body != NULL ? reply.body : "", 0, NULL);

		list = json_incref(json_object_get(answer, "devices"));
		json_decref(answer);
		if (list == NULL) {
			*code = ctl_fail(CTL_EXIT_NO_CONNECTION,
					 "The answers on the socket are not squib's; is this its "
					 "API socket?",
					 NULL);
		}
	}
	free(reply.body);
	return list;
}

static const char *text_of(const json_t *device, const char *key)
{
	const char *text = json_string_value(json_object_get(device, key));

	return text != NULL ? text : "";
}

/* Borrowed; NULL: there is none. */
static json_t *find(json_t *list, const char *type, const char *id)
{
	size_t i;
	json_t *device;

	json_array_foreach(list, i, device)
	{
		if (strcmp(text_of(device, "id"), id) == 0 &&
		    strcmp(text_of(device, "type"), type) == 0) {
			return device;
		}
	}
	return NULL;
}

/* What the guest has to do who has not taken a device. Behind a port it was told, on bus 0 not. */
static const char *advice(const char *address)
{
	return strncmp(address, "0000:00:", strlen("0000:00:")) == 0
		       ? "and the guest has not looked: in it, echo 1 >/sys/bus/pci/rescan"
		       : "and the guest was told, but has not taken it: it needs a driver for it, "
			 "and HOTPLUG_PCI_PCIE";
}

/* Waits until the guest uses the device, and says what it has come to. */
static enum ctl_exit wait_for_guest(int fd, const struct kind *kind, const char *id)
{
	uint64_t deadline = deadline_in(PATIENCE_MS);
	bool is_over = false;
	bool runs;
	enum ctl_exit code = ctl_find_running(fd, &runs);

	while (code == CTL_EXIT_OK && !is_over) {
		json_t *list = get_devices(fd, &code);
		json_t *device = find(list, kind->type, id);
		bool is_in_use = json_is_true(json_object_get(device, "is_in_use"));
		const char *address = text_of(device, "address");

		is_over = device == NULL || is_in_use || !runs || deadline_left(deadline) == 0;
		if (code != CTL_EXIT_OK) {
			is_over = true;
		} else if (device == NULL) {
			printf("%s: configured, and there when the microVM starts\n", id);
		} else if (is_over) {
			printf("%s: plugged in at %s, %s\n", id, address,
			       is_in_use ? "and the guest uses it"
			       : runs	 ? advice(address)
					 : "and the guest sees it when the microVM is resumed");
		} else {
			usleep(LOOK_US);
		}
		json_decref(list);
	}
	return code;
}

static enum ctl_exit plug_one(int fd, const struct ctl_args *args, const struct kind *kind,
			      const char *word)
{
	const char *host = strchr(word, '=') + 1;
	AUTO_FREE char *id = strndup(word, (size_t)(host - 1 - word));
	char path[PATH_LEN];
	struct ctl_reply reply = {0};
	json_t *json = json_pack("{s:s, s:s}", kind->id_key, id, kind->host_key, host);

	if (kind->read_only_key != NULL) {
		json_object_set_new(json, kind->read_only_key, json_boolean(args->read_only));
	}
	if (strcmp(kind->list, "drives") == 0) {
		json_object_set_new(json, "is_root_device", json_false());
	}
	AUTO_FREE char *body = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	if (body == NULL) {
		return ctl_fail(CTL_EXIT_USAGE, "A name on the command line is no UTF-8", NULL);
	}
	(void)!snprintf(path, sizeof(path), "/%s/%s", kind->list, id);
	enum ctl_exit code = ctl_request(fd, "PUT", path, body, &reply);

	free(reply.body);
	return code == CTL_EXIT_OK ? wait_for_guest(fd, kind, id) : code;
}

static enum ctl_exit plug(int fd, const struct ctl_args *args)
{
	const struct ctl_words *words[] = {&args->drives, &args->pmems, &args->nets};
	enum ctl_exit code = CTL_EXIT_OK;

	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		for (unsigned j = 0; j < words[i]->count && code == CTL_EXIT_OK; j++) {
			code = plug_one(fd, args, &kinds[i], words[i]->items[j]);
		}
	}
	return code;
}

/* The kind of the device with this id; NULL: *code says what is wrong, which was told. */
static const struct kind *find_kind(int fd, const char *id, enum ctl_exit *code)
{
	json_t *list = get_devices(fd, code);
	const struct kind *found = NULL;
	unsigned count = 0;

	if (list == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		if (find(list, kinds[i].type, id) != NULL) {
			found = &kinds[i];
			count++;
		}
	}
	json_decref(list);
	if (count == 1) {
		return found;
	}
	*code = ctl_fail(CTL_EXIT_REFUSED,
			 count == 0 ? "There is no drive, pmem device or interface with this id"
				    : "There are devices of several kinds with this id",
			 count == 0 ? "squibctl get /devices lists what there is"
				    : "name which: squibctl delete /drives/ID");
	return NULL;
}

static enum ctl_exit unplug(int fd, const struct ctl_args *args)
{
	const char *id = args->operands[0];
	struct ctl_reply reply = {0};
	char path[PATH_LEN];
	enum ctl_exit code;
	const struct kind *kind = find_kind(fd, id, &code);

	if (kind == NULL) {
		return code;
	}
	(void)!snprintf(path, sizeof(path), "/%s/%s", kind->list, id);
	code = ctl_request(fd, "DELETE", path, args->force ? "{\"force\":true}" : NULL, &reply);
	free(reply.body);
	if (code == CTL_EXIT_OK) {
		printf("%s: unplugged\n", id);
	}
	return code;
}

enum ctl_exit ctl_plug_run(int fd, const struct ctl_args *args)
{
	return strcmp(args->command->name, "plug") == 0 ? plug(fd, args) : unplug(fd, args);
}
