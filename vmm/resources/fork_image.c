/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image of a machine: a process that was forked while nothing of the machine ran. It has the
 * memory of that instant, copied on write by the kernel, and the state in a buffer. It does nothing
 * but wait for requests, and fork a process for each child.
 *
 * Theory of operation. Each message on the socket between monitor and image is a length, a number
 * and that many bytes of JSON. An answer has the number of its request, so that one which comes too
 * late is not taken for another's. Each child reports on a socket of its own: ready, with its
 * machine made and paused, or why not. When all have reported, the image answers; then the monitor
 * says whether those that are ready are to live: a message without bytes, with the request's number
 * or another one. So there is no child that the monitor does not know of, whoever ends meanwhile,
 * and no guest runs that would slow down the answer. A child that fails or is to end has its socket
 * open until it has undone what it did.
 *
 * Image and children have all descriptors closed that they don't need. What the heap has of the
 * monitor that was forked stays there untouched: its pages are shared.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/sent.h"
#include "vmm/resources/fork.h"
#include "vmm/resources/request.h"
#include "vmm/resources/vm_config.h"

enum {
	MESSAGE_MAX = 16 << 20, /* bytes: more than the API takes */
	KEPT_FDS = 2 + GMEM_REGIONS_MAX + CONFIG_DEVICES_MAX + SENT_MAX,
	ANSWER_MS = FORK_PATIENCE_MS + 5 * 1000,
};

/* The first byte of a child's report, and of the image's answer to it. */
enum {
	CHILD_READY = 'r',
	CHILD_FAILED = 'f',
	CHILD_GO = 'g',
	CHILD_END = 'e',
};

/* --- Messages --- */

static uint64_t deadline_in(unsigned ms)
{
	return clock_host.now_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;
}

/* Waits until there is something to read. deadline 0: for ever. */
static int wait_for(int fd, uint64_t deadline, struct error *err)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_host.now_ns(CLOCK_MONOTONIC);
		int ms = deadline == 0	   ? -1
			 : now >= deadline ? 0
					   : (int)((deadline - now) / NS_PER_MS + 1);
		int ready = poll(&poll_fd, 1, ms);

		if (ready > 0) {
			return 0;
		}
		if (ready == 0) {
			return error_set(err, ERR_HOST, "There was no answer in time");
		}
		if (errno != EINTR) {
			return error_sys(err, "Cannot wait for an answer");
		}
	}
}

static int send_all(int fd, const void *bytes, size_t len, struct error *err)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t done = send(fd, at, len, MSG_NOSIGNAL);

		if (done < 0 && errno != EINTR) {
			return error_sys(err, "Cannot send to the image");
		}
		at += done > 0 ? done : 0;
		len -= done > 0 ? (size_t)done : 0;
	}
	return 0;
}

/* 1: the other side is gone, before the first byte. */
static int receive_all(int fd, void *bytes, size_t len, uint64_t deadline, struct error *err)
{
	char *at = bytes;
	size_t left = len;

	while (left > 0) {
		if (wait_for(fd, deadline, err) < 0) {
			return -1;
		}
		ssize_t done = recv(fd, at, left, 0);

		if (done == 0) {
			return left == len ? 1 : error_set(err, ERR_HOST, "A message was cut");
		}
		if (done < 0 && errno != EINTR) {
			return error_sys(err, "Cannot receive");
		}
		at += done > 0 ? done : 0;
		left -= done > 0 ? (size_t)done : 0;
	}
	return 0;
}

struct head {
	uint32_t len; /* bytes that follow */
	uint32_t number;
};

struct message {
	struct head head;
	char *text; /* heap, with a NUL behind */
};

static int send_text(int fd, uint32_t number, const char *text, size_t len, struct error *err)
{
	const struct head head = {.len = (uint32_t)len, .number = number};

	return send_all(fd, &head, sizeof(head), err) < 0 ? -1 : send_all(fd, text, len, err);
}

/* 1: the other side is gone. The text that *message has is freed. */
static int receive(int fd, uint64_t deadline, struct message *message, struct error *err)
{
	int result = receive_all(fd, &message->head, sizeof(message->head), deadline, err);
	uint32_t len = message->head.len;

	free(message->text);
	message->text = NULL;
	if (result != 0) {
		return result;
	}
	if (len > MESSAGE_MAX) {
		return error_set(err, ERR_HOST, "A message of %u bytes is too long", len);
	}
	message->text = malloc(len + 1);
	if (message->text == NULL) {
		return error_sys(err, "Cannot receive a message");
	}
	message->text[len] = '\0';
	result = receive_all(fd, message->text, len, deadline, err);
	return result == 1 ? error_set(err, ERR_HOST, "A message was cut") : result;
}

int fork_image_ask(const struct fork_body *body, const char *text, size_t len, json_t **answer,
		   struct error *err)
{
	const uint64_t deadline = deadline_in(ANSWER_MS);
	struct message reply = {0};
	int result = send_text(body->socket, body->number, text, len, err);

	while (result == 0 && (reply.text == NULL || reply.head.number != body->number)) {
		result = receive(body->socket, deadline, &reply, err);
	}
	if (result == 0) {
		*answer = json_loadb(reply.text, reply.head.len, 0, NULL);
		result = *answer != NULL ? 0
					 : error_set(err, ERR_HOST,
						     "The image of the machine gave no answer");
	} else if (result > 0) {
		result = error_set(err, ERR_HOST, "The image of the machine ended; see the log");
	}
	free(reply.text);
	return result;
}

void fork_image_settle(const struct fork_body *body, bool lives)
{
	struct error ignored = {0};

	(void)!send_text(body->socket, lives ? body->number : 0, "", 0, &ignored);
}

/* --- Children --- */

struct newborn {
	pid_t pid;  /* 0: it could not be forked, or it failed */
	int report; /* -1: closed */
	struct error err;
};

static int close_others(const struct fork_image *image, int fd, struct error *err)
{
	int keep[KEPT_FDS] = {fd, log_descriptor()};
	size_t count = 2;

	for (size_t i = 0; i < gmem_region_count(image->mem); i++) {
		keep[count++] = gmem_slot(image->mem, i).fd;
	}
	for (size_t i = 0; i < image->copies.count; i++) {
		keep[count++] = image->copies.items[i].fd;
	}
	for (size_t i = 0; i < image->kept_count; i++) {
		keep[count++] = image->kept[i];
	}
	return fd_close_all_but(keep, count, err);
}

static _Noreturn void become_child(const struct fork_image *image, const struct fork_body *body,
				   const struct fork_child *child, int report)
{
	struct error err = {0};
	struct fork_birth birth = {
		.child = child,
		.landlock = body->landlock,
		.state = &image->state,
		.copies = &image->copies,
		.mem = image->mem,
		.parent = image->parent,
		.report = report,
	};

	if (close_others(image, report, &err) < 0) {
		fork_report_failure(&birth, &err);
		_exit(1);
	}
	image->become(image->arg, &birth);
	_exit(1);
}

static void bear(const struct fork_image *image, const struct fork_body *body,
		 const struct fork_child *child, struct newborn *newborn)
{
	int pair[2];

	newborn->report = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		(void)error_sys(&newborn->err, "Cannot make a socket for a child");
		return;
	}
	newborn->pid = fork();
	if (newborn->pid == 0) {
		become_child(image, body, child, pair[1]);
	}
	close(pair[1]);
	if (newborn->pid < 0) {
		newborn->pid = 0;
		close(pair[0]);
		(void)error_sys(&newborn->err, "Cannot fork a child");
		return;
	}
	newborn->report = pair[0];
}

static void hear(struct newborn *newborn, uint64_t deadline)
{
	char report[1 + ERROR_MSG_LEN];
	ssize_t len = -1;

	if (newborn->report < 0) {
		return;
	}
	if (wait_for(newborn->report, deadline, &newborn->err) == 0) {
		len = recv(newborn->report, report, sizeof(report), 0);
	}
	if (len > 0 && report[0] == CHILD_READY) {
		return;
	}
	if (len > 1) {
		(void)error_set(&newborn->err, ERR_BAD_REQUEST, "%.*s", (int)len - 1, report + 1);
	} else if (newborn->err.kind == ERR_NONE) {
		(void)error_set(&newborn->err, ERR_HOST, "It ended at its start; see the log");
	}
	newborn->pid = 0;
}

static void tell(const struct newborn *newborn, bool lives)
{
	const char order = lives ? CHILD_GO : CHILD_END;

	if (newborn->pid > 0 && newborn->report >= 0) {
		(void)!send(newborn->report, &order, 1, MSG_NOSIGNAL);
	}
}

/* Waits for the end of a child that does not live. */
static void part_from(struct newborn *newborn, bool lives, uint64_t deadline)
{
	struct error ignored = {0};
	char byte;

	if (newborn->report >= 0 && !lives && wait_for(newborn->report, deadline, &ignored) == 0) {
		(void)!recv(newborn->report, &byte, 1, 0);
	}
	fd_close(&newborn->report);
}

static json_t *describe(const struct fork_child *child, const struct newborn *newborn, bool lives)
{
	json_t *object = json_pack("{ss ss}", "id", child->id, "api_sock", child->api_sock);
	int failed = object == NULL;

	if (newborn->pid == 0) {
		failed |= json_object_set_new(object, "error", json_string(newborn->err.msg));
	} else if (lives) {
		failed |= json_object_set_new(object, "pid", json_integer(newborn->pid));
	}
	if (failed != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* The children of a request. */
struct litter {
	struct json_doc doc;
	struct fork_body body; /* as the request has it */
	struct newborn *newborns;
	uint64_t deadline;
	bool lives; /* not the single child, which may have failed */
};

static int litter_init(struct litter *litter, const struct message *request, struct error *err)
{
	struct json_value root;
	uint64_t present = 0;

	*litter = (struct litter){.body = {.all_or_none = true}};
	litter->deadline = deadline_in(FORK_PATIENCE_MS);
	if (json_doc_load(request->text, request->head.len, "The image's request", &litter->doc,
			  err) < 0) {
		return -1;
	}
	root = json_doc_root(&litter->doc);
	if (schema_decode(&fork_schema, &root, &litter->body, &present, err) < 0) {
		return -1;
	}
	litter->newborns = calloc(litter->body.children.count + 1, sizeof(*litter->newborns));
	return litter->newborns != NULL ? 0 : error_sys(err, "Cannot make children");
}

static void litter_destroy(struct litter *litter)
{
	free(litter->newborns);
	schema_free(&fork_schema, &litter->body);
	json_doc_free(&litter->doc);
}

/* Lets those that are ready live, or end; the others have ended when this returns. Idempotent. */
static void settle(struct litter *litter)
{
	size_t count = litter->body.children.count;

	for (size_t i = 0; i < count; i++) {
		tell(&litter->newborns[i], litter->lives);
	}
	for (size_t i = 0; i < count; i++) {
		part_from(&litter->newborns[i], litter->lives && litter->newborns[i].pid > 0,
			  litter->deadline);
	}
}

/* Has all children made, and waits until each is ready or has failed. */
static void bear_all(const struct fork_image *image, struct litter *litter)
{
	const struct fork_child *children = litter->body.children.items;
	size_t count = litter->body.children.count;

	for (size_t i = 0; i < count; i++) {
		bear(image, &litter->body, &children[i], &litter->newborns[i]);
	}
	litter->lives = true;
	for (size_t i = 0; i < count; i++) {
		hear(&litter->newborns[i], litter->deadline);
		if (litter->newborns[i].pid == 0 && litter->body.all_or_none) {
			litter->lives = false;
		}
	}
	if (!litter->lives) {
		settle(litter);
	}
}

/* As text, heap; NULL: memory is short. */
static char *describe_all(const struct litter *litter)
{
	const struct fork_child *children = litter->body.children.items;
	json_t *list = json_array();

	for (size_t i = 0; i < litter->body.children.count; i++) {
		json_array_append_new(list,
				      describe(&children[i], &litter->newborns[i], litter->lives));
	}
	json_t *answer = json_pack("{so}", "children", list);
	char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;

	json_decref(answer);
	return text;
}

/* --- The image --- */

/* Whether the monitor wants the children that it was told of. */
static bool are_wanted(int socket, uint32_t number)
{
	struct message verdict = {0};
	struct error ignored = {0};
	bool is_heard = receive(socket, 0, &verdict, &ignored) == 0;

	free(verdict.text);
	return is_heard && verdict.head.len == 0 && verdict.head.number == number;
}

static int serve_request(const struct fork_image *image, const struct message *request, int socket,
			 struct error *err)
{
	struct litter litter;
	AUTO_FREE char *text = NULL;
	int result = litter_init(&litter, request, err);

	if (result == 0) {
		bear_all(image, &litter);
		text = describe_all(&litter);
		result = text != NULL
				 ? send_text(socket, request->head.number, text, strlen(text), err)
				 : error_set(err, ERR_HOST, "Out of memory for an answer");
		bool is_wanted = result == 0 && are_wanted(socket, request->head.number);

		litter.lives = litter.lives && is_wanted;
		settle(&litter);
	}
	litter_destroy(&litter);
	return result;
}

void fork_image_serve(const struct fork_image *image, void *arg, int socket)
{
	struct message request = {0};
	struct error err = {0};

	(void)arg;
	while (receive(socket, 0, &request, &err) == 0 &&
	       serve_request(image, &request, socket, &err) == 0) {
	}
	if (err.kind != ERR_NONE) {
		log_error("%s", err.msg);
	}
	free(request.text);
}

static _Noreturn void be_image(const struct fork_image *image, const struct fork_purpose *purpose,
			       int socket)
{
	struct error err = {0};

	log_set_thread("image");
	prctl(PR_SET_NAME, "fc_image");
	if (close_others(image, socket, &err) < 0) {
		log_error("%s", err.msg);
		_exit(1);
	}
	purpose->serve(image, purpose->arg, socket);
	_exit(0);
}

static int fork_process(const struct fork_image *image, const struct fork_purpose *purpose,
			int *socket, struct error *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		return error_sys(err, "Cannot make a socket for the image");
	}
	/* Nobody waits for the image, nor an image for its children. */
	signal(SIGCHLD, SIG_IGN);
	fflush(NULL);
	pid_t pid = fork();

	if (pid == 0) {
		be_image(image, purpose, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		(void)error_sys(err, "Cannot fork the machine");
		close(pair[0]);
		return -1;
	}
	*socket = pair[0];
	return 0;
}

/* With nothing of the machine running. */
static int freeze(struct microvm *microvm, const char *config, const struct fork_purpose *purpose,
		  int *socket, struct error *err)
{
	struct machine *machine = &microvm->controller.machine;
	struct fork_image image = {
		.mem = machine->mem,
		.parent = getpid(),
		.confine = microvm->controller.confine,
		.become = microvm->become,
		.arg = microvm->become_arg,
		.kept = purpose->kept,
		.kept_count = purpose->kept_count,
	};
	int result = machine_save(machine, config, &image.state, err);

	if (result == 0) {
		result = vm_hide_from_forks(&machine->vm, err);
	}
	if (result == 0 && purpose->children != NULL) {
		result = fork_copies_make(&microvm->config, purpose->children, &image.copies, err);
	}
	if (result == 0) {
		result = fork_process(&image, purpose, socket, err);
	}
	fork_copies_close(&image.copies);
	machine_state_destroy(&image.state);
	return result;
}

int fork_image_start(struct microvm *microvm, const struct fork_purpose *purpose, int *socket,
		     struct error *err)
{
	struct controller *controller = &microvm->controller;
	AUTO_FREE char *config = vm_config_text(&microvm->config, err);
	uint64_t begin = clock_host.now_ns(CLOCK_MONOTONIC);

	if (config == NULL) {
		return -1;
	}
	if (controller->state == VM_RUNNING && machine_pause(&controller->machine, err) < 0) {
		return -1;
	}
	int result = freeze(microvm, config, purpose, socket, err);

	if (controller->state == VM_RUNNING) {
		machine_resume(&controller->machine);
	}
	if (result == 0) {
		log_info("The guest stood still for %llu us while it was forked.",
			 (unsigned long long)(clock_host.now_ns(CLOCK_MONOTONIC) - begin) /
				 NS_PER_US);
	}
	return result;
}

/* --- In a child --- */

void fork_report_failure(struct fork_birth *birth, const struct error *err)
{
	char report[1 + ERROR_MSG_LEN];

	if (birth->report < 0 || birth->has_failed) {
		return;
	}
	birth->has_failed = true;
	int len = snprintf(report, sizeof(report), "%c%s", CHILD_FAILED, err->msg);

	(void)!send(birth->report, report, min_u64((uint64_t)len, sizeof(report) - 1),
		    MSG_NOSIGNAL);
}

/* Fails where the image does not want this child. */
int fork_await_go(struct fork_birth *birth, struct error *err)
{
	const char ready = CHILD_READY;
	char go = 0;

	if (send(birth->report, &ready, 1, MSG_NOSIGNAL) < 0 ||
	    recv(birth->report, &go, 1, 0) < 0) {
		return error_sys(err, "Cannot speak to the image");
	}
	if (go != CHILD_GO) {
		birth->has_failed = true;
		return error_set(err, ERR_HOST, "The fork was given up, as a sibling failed");
	}
	fd_close(&birth->report);
	return 0;
}
