/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /fork: copies of a running machine.
 *
 * Theory of operation. The VMM thread pauses the machine, saves its state to a buffer, forks the
 * process, which becomes the image (fork_image.c), and lets the machine go on. The thread of the
 * API then has the image make the children, and waits for them: the machine does not.
 *
 * A child is configured as a loaded machine is (snapshot_load.c): by the configuration of its
 * parent with what the request overrides. Then its machine is made from the state over the memory
 * that the process has inherited. What a machine has for itself alone must be overridden: TAPs,
 * sockets, and drives that are written to.
 */
#include "vmm/resources/fork.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/flags.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/base/log.h"
#include "vmm/resources/rate_limiter.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/vm_config.h"

enum {
	CHILDREN_MAX = 1000,
	NAME_MAX_LEN = 64, /* bytes of an image's name */
};

static const struct schema_field child_fields[] = {
	SCHEMA_FIELD(struct fork_child, id, SCHEMA_REQUIRED),
	SCHEMA_PATH_FIELD(struct fork_child, api_sock, SCHEMA_REQUIRED),
	SCHEMA_PATH_FIELD(struct fork_child, log_path, SCHEMA_OPTIONAL),
	SCHEMA_PATH_FIELD(struct fork_child, metrics_path, SCHEMA_OPTIONAL),
	SCHEMA_PATH_FIELD(struct fork_child, serial_out_path, SCHEMA_OPTIONAL),
	SCHEMA_OBJECT_FIELD(struct fork_child, serial_rate_limiter, SCHEMA_OPTIONAL,
			    &token_bucket_schema),
	SCHEMA_FIELD(struct fork_child, paused, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct fork_child, ends_with_parent, SCHEMA_DEFAULTED),
	OVERRIDES_FIELDS(struct fork_child),
};

static const struct schema child_schema = SCHEMA("ForkChild", struct fork_child, child_fields);

static const struct schema_field fields[] = {
	SCHEMA_LIST_FIELD(struct fork_body, children, SCHEMA_DEFAULTED, &child_schema),
	SCHEMA_FIELD(struct fork_body, all_or_none, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct fork_body, landlock, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct fork_body, keep, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct fork_body, image, SCHEMA_OPTIONAL),
};

const struct schema fork_schema = SCHEMA("ForkParams", struct fork_body, fields);

static const struct fork_body defaults = {.all_or_none = true, .socket = -1};

/* --- The request --- */

static COLD int refuse_twice(const char *field, const char *value, struct error *err)
{
	return error_set(err, ERR_BAD_REQUEST, "Two children have the %s `%s`: give each its own",
			 field, value);
}

static int check_child(const struct fork_body *body, size_t index, struct error *err)
{
	const struct fork_child *children = body->children.items;
	const struct fork_child *child = &children[index];
	const struct network_override *networks = child->overrides.networks.items;

	if (flag_check_id(child->id, err) < 0) {
		return error_wrap(err, "Child %zu", index + 1);
	}
	for (size_t i = 0; i < child->overrides.networks.count; i++) {
		if (networks[i].host_dev_name != NULL &&
		    strncmp(networks[i].host_dev_name, "fd:", strlen("fd:")) == 0) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Child `%s`: a child has no descriptors such as %s: name "
					 "a TAP",
					 child->id, networks[i].host_dev_name);
		}
	}
	for (size_t i = 0; i < index; i++) {
		if (strcmp(children[i].id, child->id) == 0) {
			return refuse_twice("id", child->id, err);
		}
		if (strcmp(children[i].api_sock, child->api_sock) == 0) {
			return refuse_twice("api_sock", child->api_sock, err);
		}
	}
	return 0;
}

/* Any client's library can put such a name into the path of DELETE /fork/{id} as it is. */
static int check_name(const char *name, struct error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_";
	size_t len = strlen(name);

	return len > 0 && len <= NAME_MAX_LEN && strspn(name, allowed) == len
		       ? 0
		       : error_set(err, ERR_BAD_REQUEST,
				   "`keep` must be a name of 1 to %d letters, digits and "
				   "underscores",
				   NAME_MAX_LEN);
}

static int check(struct request *request, struct error *err)
{
	const struct fork_body *body = request->body;
	const struct json_doc *doc = request->json->doc;

	if (body->children.count == 0 && body->keep == NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "There is nothing to do: name `children`, or an image to `keep`");
	}
	if (body->keep != NULL && body->image != NULL) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Children of an image that is kept already can't `keep` another "
				 "one: leave out `keep` or `image`");
	}
	if (body->children.count > CHILDREN_MAX) {
		return error_set(err, ERR_BAD_REQUEST, "At most %d children are made at once",
				 CHILDREN_MAX);
	}
	if (body->keep != NULL && check_name(body->keep, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < body->children.count; i++) {
		if (check_child(body, i, err) < 0) {
			return -1;
		}
	}
	/* For the image, which decodes it for itself. */
	request->content = json_stringn(doc->text, doc->len);
	return request->content != NULL ? 0 : error_set(err, ERR_HOST, "Out of memory for a fork");
}

/* --- The image --- */

static int find_image(const struct fork_images *images, const char *name)
{
	for (size_t i = 0; i < images->count; i++) {
		if (strcmp(images->items[i].name, name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

static void drop_image(struct fork_images *images, size_t index)
{
	free(images->items[index].name);
	fd_close(&images->items[index].socket);
	images->count--;
	images->items[index] = images->items[images->count];
}

void fork_images_drop(struct fork_images *images)
{
	while (images->count > 0) {
		drop_image(images, images->count - 1);
	}
}

/* An image that has ended, such as one that was killed, is none. */
static void drop_ended(struct fork_images *images)
{
	for (size_t i = images->count; i > 0; i--) {
		struct pollfd socket = {.fd = images->items[i - 1].socket, .events = POLLRDHUP};

		if (poll(&socket, 1, 0) > 0) {
			drop_image(images, i - 1);
		}
	}
}

int fork_check(const struct microvm *microvm, struct error *err)
{
	const struct machine_config *machine = &microvm->config.machine;
	const struct confine *confine = microvm->controller.confine;

	if (confine != NULL && landlock_is_on(&confine->landlock)) {
		return error_set(
			err, ERR_NOT_SUPPORTED,
			"A machine that Landlock holds in can't be forked, as its children "
			"could not open their files: fork its parent again");
	}
	if (!machine->forkable) {
		return error_set(err, ERR_BAD_STATE,
				 "This machine can't be forked: it was started without "
				 "`\"forkable\": true` in its machine-config");
	}
	if (machine->huge_pages == HUGE_PAGES_2M) {
		return error_set(
			err, ERR_NOT_SUPPORTED,
			"A machine on the pool of 2 MiB pages can't be forked: a copy of a "
			"page that the pool lacks would kill it. Use huge_pages "
			"\"Transparent\"");
	}
	if (gmem_slot(microvm->controller.machine.mem, 0).is_paged) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A machine whose memory comes from a page fault handler can't be "
				 "forked: its handler does not know the fork");
	}
	const struct pmem_device *shared = pmem_find_writable(&microvm->config.pmems);

	if (shared != NULL) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "A machine that writes to persistent memory can't be forked: both "
				 "would write to the file of `%s`. Only read_only devices are "
				 "shared",
				 shared->config.id);
	}
	return 0;
}

static int check_keep(const struct microvm *microvm, const struct fork_body *body,
		      struct error *err)
{
	if (body->keep != NULL && find_image(&microvm->images, body->keep) >= 0) {
		return error_set(err, ERR_BAD_REQUEST, "There is an image `%s` already",
				 body->keep);
	}
	if (body->keep != NULL && microvm->images.count == FORK_IMAGES_MAX) {
		return error_set(err, ERR_BAD_STATE, "At most %d images are kept: delete one",
				 FORK_IMAGES_MAX);
	}
	return 0;
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct fork_body *body = request->body;

	drop_ended(&microvm->images);
	body->number = ++microvm->images.last_request;
	if (body->image != NULL) {
		int index = find_image(&microvm->images, body->image);

		if (index < 0) {
			return error_set(err, ERR_BAD_REQUEST, "There is no image `%s`",
					 body->image);
		}
		body->socket = microvm->images.items[index].socket;
		return 0;
	}
	if (fork_check(microvm, err) < 0 || check_keep(microvm, body, err) < 0) {
		return -1;
	}
	const struct fork_purpose purpose = {.serve = fork_image_serve,
					     .children = &body->children};

	if (fork_image_start(microvm, &purpose, &body->socket, err) < 0) {
		return -1;
	}
	microvm->images.has_begun = true;
	return 0;
}

/* --- The children --- */

/* The first child that failed, if that is a failure of the request. */
static int judge(const struct fork_body *body, json_t *answer, struct error *err)
{
	size_t i;
	json_t *child;

	json_array_foreach(json_object_get(answer, "children"), i, child)
	{
		const char *error = json_string_value(json_object_get(child, "error"));

		if (error != NULL && body->all_or_none) {
			return error_set(err, ERR_BAD_REQUEST, "No child was made: `%s`: %s",
					 json_string_value(json_object_get(child, "id")), error);
		}
	}
	return i == body->children.count
		       ? 0
		       : error_set(err, ERR_HOST, "The image ran out of memory for its children");
}

static int finish(struct request *request, struct error *err)
{
	struct fork_body *body = request->body;
	json_t *answer = NULL;
	int result = fork_image_ask(body, json_string_value(request->content),
				    json_string_length(request->content), &answer, err);

	if (result == 0) {
		result = judge(body, answer, err);
	}
	if (result == 0) {
		return request_reply(request, answer, err);
	}
	json_decref(answer);
	fork_image_settle(body, false);
	if (body->image == NULL) {
		fd_close(&body->socket);
	}
	return -1;
}

/* The children live, and the image is kept if it is to be: nothing of the request fails now. */
static int commit(struct microvm *microvm, struct request *request, struct error *err)
{
	struct fork_images *images = &microvm->images;
	struct fork_body *body = request->body;

	(void)err;
	fork_image_settle(body, true);
	if (body->keep != NULL) {
		images->items[images->count].name = body->keep;
		images->items[images->count].socket = body->socket;
		images->count++;
		body->keep = NULL;
	} else if (body->image == NULL) {
		fd_close(&body->socket);
	}
	return 0;
}

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	json_t *list = json_array();

	drop_ended(&microvm->images);
	for (size_t i = 0; i < microvm->images.count; i++) {
		json_array_append_new(list, json_string(microvm->images.items[i].name));
	}
	return request_reply(request, json_pack("{so}", "images", list), err);
}

const struct resource fork_resource = {
	.path = {"fork"},
	.methods = {[HTTP_PUT] = {.states = AFTER_START,
				  .body = BODY_JSON,
				  .schema = &fork_schema,
				  .defaults = &defaults,
				  .prefix = "Fork error",
				  .check = check,
				  .run = put,
				  .finish = finish,
				  .commit = commit,
				  .answers = true},
		    [HTTP_GET] = {.states = ALWAYS, .run = get}},
};

static int delete_image(struct microvm *microvm, struct request *request, struct error *err)
{
	drop_ended(&microvm->images);
	int index = find_image(&microvm->images, request->id);

	if (index < 0) {
		return error_set(err, ERR_BAD_REQUEST, "There is no image `%s`", request->id);
	}
	drop_image(&microvm->images, (size_t)index);
	return 0;
}

const struct resource fork_image_resource = {
	.path = {"fork"},
	.has_id = true,
	.methods[HTTP_DELETE] = {.states = ALWAYS, .prefix = "Fork error", .run = delete_image},
};

/* --- In a child --- */

/* Devices that have something of the host for themselves alone. */
struct own_kind {
	const char *key, *id_key; /* in the configuration */
	size_t override_size;	  /* of an override, whose first member is the id */
};

static bool is_overridden(const struct own_kind *kind, const struct schema_list *list,
			  const char *id)
{
	const char *items = list->items;

	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(*(const char *const *)(items + i * kind->override_size), id) == 0) {
			return true;
		}
	}
	return false;
}

static int check_own(json_t *config, const struct own_kind *kind,
		     const struct schema_list *overrides, struct error *err)
{
	size_t i;
	json_t *device;

	json_array_foreach(json_object_get(config, kind->key), i, device)
	{
		const char *id = json_string_value(json_object_get(device, kind->id_key));

		if (id != NULL && !json_is_true(json_object_get(device, "is_read_only")) &&
		    !is_overridden(kind, overrides, id)) {
			return error_set(err, ERR_BAD_REQUEST,
					 "`%s` of %s is the parent's alone: override it", id,
					 kind->key);
		}
	}
	return 0;
}

/* What a child overrides of its parent's configuration: at least what is the parent's alone. */
static int change(json_t *config, const void *arg, struct error *err)
{
	static const struct own_kind drives = {"drives", "drive_id", sizeof(struct drive_override)};
	static const struct own_kind networks = {"network-interfaces", "iface_id",
						 sizeof(struct network_override)};
	const struct overrides *overrides = arg;

	if (check_own(config, &drives, &overrides->drives, err) < 0 ||
	    check_own(config, &networks, &overrides->networks, err) < 0) {
		return -1;
	}
	if (json_is_object(json_object_get(config, "vsock")) && !overrides->has_vsock) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The socket of the vsock device is the parent's alone: give a "
				 "vsock_override");
	}
	return overrides_apply(overrides, config, err);
}

/* Neither standard output nor input are a child's: they are its parent's. */
static int set_console(struct microvm *microvm, const struct fork_child *child, struct error *err)
{
	if (child->serial_out_path == NULL) {
		return 0;
	}
	microvm->config.serial.rate_limiter = child->serial_rate_limiter;
	microvm->config.serial.has_rate_limiter = child->has_serial_rate_limiter;
	microvm->config.serial.serial_out_path = strdup(child->serial_out_path);
	return microvm->config.serial.serial_out_path != NULL
		       ? 0
		       : error_sys(err, "Cannot keep the path of the console");
}

static int await_go(void *arg, struct error *err)
{
	return fork_await_go(arg, err);
}

int fork_load(struct microvm *microvm, struct fork_birth *birth, struct error *err)
{
	const struct machine_source source = {
		.state = birth->state,
		.memory = &birth->mem,
		.memory_fd = -1,
	};

	const struct vm_config_change changes = {.fn = change, .arg = &birth->child->overrides};

	microvm->is_forked = true;
	if (fork_copies_give(birth, err) < 0 ||
	    vm_config_load_changed(birth->state->config, birth->state->config_len, &changes,
				   microvm, err) < 0 ||
	    set_console(microvm, birth->child, err) < 0) {
		vm_config_unload(&microvm->config);
		fork_copies_take_back(birth);
		return -1;
	}
	if (microvm->config.machine.track_dirty_pages) {
		/* What KVM knew of the guest's writes, it knew of the parent's machine. */
		gmem_dirty_all(birth->mem);
	}
	/* Under Landlock its children could open nothing, so it has no filter for them either. */
	microvm->config.machine.forkable = microvm->config.machine.forkable && !birth->landlock;
	struct start_plan plan = actions_plan(microvm);

	plan.machine.source = &source;
	plan.machine.console.is_silent = birth->child->serial_out_path == NULL;
	plan.is_paused = true;
	plan.is_forked = true;
	plan.await = await_go;
	plan.await_arg = birth;
	if (controller_start(&microvm->controller, &plan, err) < 0) {
		vm_config_unload(&microvm->config);
		fork_copies_take_back(birth);
		return -1;
	}
	if (!birth->child->paused) {
		controller_resume(&microvm->controller);
	}
	return 0;
}
