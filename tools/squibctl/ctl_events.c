/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has happened to machines.
 *
 * Theory of operation. A line is one write(2) at the end of the file, so that lines of several
 * processes never mix. A file that is too long gets another name, under which one is kept: the
 * reader who follows sees another inode, as with logs.
 */
#include "tools/squibctl/ctl_events.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

enum {
	FILE_MAX_LEN = 1 << 20, /* bytes of one of the two files */
	FOLLOW_MS = 100,
	TIME_LEN = 32,
};

static const char name[] = ".events"; /* no machine can be called so */
static const char old_name[] = ".events.1";

void ctl_event(const struct machine *machine, const char *what, int status)
{
	AUTO_FREE char *path = ctl_machine_beside(machine, name);
	AUTO_FREE char *old = ctl_machine_beside(machine, old_name);
	json_t *object = json_pack("{s:I, s:s, s:s}", "time", (json_int_t)time(NULL), "machine",
				   machine->name, "event", what);

	if (status != CTL_NO_STATUS) {
		json_object_set_new(object, "status", json_integer(status));
	}
	AUTO_FREE char *text = json_dumps(object, JSON_COMPACT);
	AUTO_FREE char *line = text != NULL ? ctl_text("%s\n", text) : NULL;
	AUTO_FD fd = path != NULL && old != NULL
			     ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
			     : -1;
	struct stat st;

	json_decref(object);
	if (fd < 0 || line == NULL) {
		return;
	}
	(void)!write(fd, line, strlen(line));
	if (fstat(fd, &st) == 0 && st.st_size > FILE_MAX_LEN) {
		(void)!rename(path, old);
	}
}

/* --- reading --- */

static void show(const struct ctl_args *args, const char *line)
{
	json_t *object = json_loads(line, 0, NULL);
	const json_t *status = json_object_get(object, "status");
	const char *machine = json_string_value(json_object_get(object, "machine"));
	const char *event = json_string_value(json_object_get(object, "event"));
	time_t at = (time_t)json_integer_value(json_object_get(object, "time"));
	char text[TIME_LEN] = "";
	struct tm tm;

	/* Our own lines; a part of one is what a full disk has left. */
	if (machine == NULL || event == NULL) {
		json_decref(object);
		return;
	}
	if (args->run.json) {
		fputs(line, stdout);
	} else {
		strftime(text, sizeof(text), "%FT%TZ", gmtime_r(&at, &tm));
		printf("%s %s %s", text, machine, event);
		if (status != NULL) {
			printf(" (%lld)", (long long)json_integer_value(status));
		}
		putchar('\n');
	}
	fflush(stdout);
	json_decref(object);
}

/* All lines from `*at` on, which moves on with them. */
static void show_file(const struct ctl_args *args, FILE *file)
{
	AUTO_FREE char *line = NULL;
	size_t cap = 0;

	clearerr(file);
	for (;;) {
		long begin = ftell(file);
		ssize_t len = getline(&line, &cap, file);

		if (len <= 0 || line[len - 1] != '\n') {
			/* The rest of a line is to come. */
			(void)!fseek(file, begin, SEEK_SET);
			return;
		}
		show(args, line);
	}
}

static bool is_replaced(FILE *file, const char *path)
{
	struct stat now;
	struct stat st;

	return stat(path, &now) == 0 && fstat(fileno(file), &st) == 0 && st.st_ino != now.st_ino;
}

int ctl_events_run(const struct ctl_args *args)
{
	struct error err = {0};
	AUTO_FREE char *base = ctl_machine_base(&err);
	AUTO_FREE char *path = base != NULL ? ctl_text("%s/%s", base, name) : NULL;
	AUTO_FREE char *old = base != NULL ? ctl_text("%s/%s", base, old_name) : NULL;
	FILE *file;

	if (path == NULL || old == NULL) {
		return (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	file = fopen(old, "re");
	if (file != NULL) {
		show_file(args, file);
		fclose(file);
	}
	file = fopen(path, "re");
	for (;;) {
		if (file != NULL) {
			show_file(args, file);
		}
		if (!args->run.follow) {
			break;
		}
		if (file == NULL || is_replaced(file, path)) {
			if (file != NULL) {
				show_file(args, file);
				fclose(file);
			}
			file = fopen(path, "re");
		}
		poll(NULL, 0, FOLLOW_MS);
	}
	if (file != NULL) {
		fclose(file);
	}
	return CTL_EXIT_OK;
}
