/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the vectors of tests/api/<name>.txt against the real binary, through its socket.
 *
 * A file is read line by line. Empty lines and those that begin with '#' are for people.
 *
 *   process [FLAGS]       a fresh squib in a fresh directory, --api-sock there; "none": only that
 *   again [FLAGS]         a fresh squib in the same directory
 *   needs KIND            what follows needs this KVM, or is skipped: none, payload or linux;
 *                         with KIND landlock, besides, a kernel that has Landlock; with tap the
 *                         right to make TAPs, in a network namespace of the test's own
 *   arch NAME             what follows is for x86_64, aarch64 or any
 *
 *   PUT /path BODY        a request; so are GET, PATCH, DELETE; without BODY it has none
 *   STATUS BODY           its answer, to the byte: status line, all headers, body;
 *   STATUS deprecated ... the same with "Deprecation: true"
 *
 *   on N                  goes on with connection N of 16; a connection opens when it is needed
 *   send BYTES            raw; several lines are several writes
 *   recv BYTES            exactly these come; after `send`, STATUS BODY works as well
 *   silent                nothing comes for a while
 *   close                 we stop sending: the server sends no more, and closes
 *   gone                  the server sends no more, and closes
 *
 *   sees FILE TEXT        the file in the directory gets TEXT behind what was seen before; "out" is
 *                         what squib printed, "log" what --log-path log got
 *   lacks FILE TEXT       the file has not got TEXT
 *   lines N               the file "metrics" gets N lines, not more, each a sound set of metrics
 *   metric N GROUP.FIELD VALUE
 *                         the value in line N; "some": more than 0
 *   file NAME BYTES       writes a file
 *   remove NAME           removes it, or the socket of a process that was killed
 *   signal N, sleep MS
 *   alive                 the process runs
 *   exit CODE             the process ends with this status, or 1000 + the signal that killed it
 *
 * An answer's BODY may be $config{MEMBERS}: the whole /vm/config as tests/api/config.json has it,
 * with these members in place of its own, objects member by member. A new field there changes that
 * file alone: 200 $config{"machine-config":{"smt":true},"vsock":{"guest_cid":3,"uds_path":"v"}}
 *
 * ${dir}, ${version}, ${arch}, ${guest NAME} stand for what they say, ${*} for anything (not in
 * recv). Escapes (\r \n \t \0 \\ \xHH, \{c*N} for N times c) work in send, recv and file, and in
 * requests and answers that begin with '~'.
 *
 * Each answer, recv, close... is one vector. Where one fails, the connection is opened anew and the
 * file goes on.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/script.h"
#include "tests/lib/runner.h"

enum {
	LINE_LEN = 64 * 1024
};

static void report(const struct script *script, const char *name, unsigned number, const char *line)
{
	printf("FAIL  %s:%u: %s\n", name, number, line);
	if (script->request[0] != '\0') {
		printf("      after    %s\n", script->request);
	}
	printf("      %s\n", script->failure);
}

static void play_line(struct script *script, const char *name, unsigned number, char *line,
		      struct runner *counts)
{
	char shown[TEXT_SHOWN];

	snprintf(shown, sizeof(shown), "%.1900s", line);
	switch (script_step(script, line)) {
	case STEP_DONE:
		break;
	case STEP_PASSED:
		counts->passed++;
		break;
	case STEP_SKIPPED:
		counts->skipped++;
		break;
	case STEP_FAILED:
		report(script, name, number, shown);
		counts->failed++;
		break;
	}
}

static void play(const char *dir, const char *name, struct runner *total)
{
	static char line[LINE_LEN];
	static struct script script;
	struct runner counts = {0};
	char path[PATH_LEN];
	const char *reason = NULL;
	uint64_t begin = now_ms();

	snprintf(path, sizeof(path), "%.300s/%.200s", dir, name);
	FILE *file = fopen(path, "re");

	script_init(&script);
	for (unsigned number = 1; file != NULL && fgets(line, sizeof(line), file) != NULL;
	     number++) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '\0' && line[0] != '#') {
			play_line(&script, name, number, line, &counts);
			reason = script_why_skipped(&script) != NULL ? script_why_skipped(&script)
								     : reason;
		}
	}
	script_destroy(&script);
	if (file == NULL) {
		printf("FAIL  %s cannot be read\n", path);
		counts.failed++;
	} else {
		fclose(file);
	}
	if (counts.skipped > 0) {
		printf("skip  %s: %u vectors: %s\n", name, counts.skipped, reason);
	}
	if (counts.failed == 0 && counts.passed > 0) {
		printf("ok    %s: %u vectors (%llu ms)\n", name, counts.passed,
		       (unsigned long long)(now_ms() - begin));
	}
	total->passed += counts.passed;
	total->failed += counts.failed;
	total->skipped += counts.skipped;
}

static int is_vectors(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
	const char *dir = env("API_DIR");
	struct dirent **entries;
	struct runner total;

	if (!runner_init(&total, argc, argv, "GUEST_DIR API_DIR")) {
		return 2;
	}
	int count = scandir(dir, &entries, is_vectors, alphasort);

	if (count < 0) {
		printf("FAIL  API_DIR %s cannot be read\n", dir);
		total.failed++;
	}
	for (int i = 0; i < count; i++) {
		if (total.part == NULL || strstr(entries[i]->d_name, total.part) != NULL) {
			play(dir, entries[i]->d_name, &total);
		}
		free(entries[i]);
	}
	if (count >= 0) {
		free(entries);
	}
	return runner_end(&total);
}
