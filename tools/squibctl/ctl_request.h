/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of squibctl's commands: what goes wrong is told on standard error. */
#ifndef TOOLS_CTL_REQUEST_H
#define TOOLS_CTL_REQUEST_H

#include <jansson.h>

#include "tools/squibctl/ctl_args.h"
#include "tools/squibctl/ctl_http.h"

/* Prints a sentence on standard error. What a terminal would obey in it is left out. */
void ctl_complain(const char *text);

/* Prints JSON for programs, in ASCII: a stranger's text in it has nothing that a terminal obeys. */
void ctl_print_json(const json_t *json);

/* Prints the sentence, and the hint unless it is NULL; returns `code`. */
enum ctl_exit ctl_fail(enum ctl_exit code, const char *text, const char *hint);

/* Prints what the API said is wrong, with a hint; returns CTL_EXIT_REFUSED. */
enum ctl_exit ctl_refused(const char *method, const char *path, const struct ctl_reply *reply);

/* One request whose answer must be a success; then the caller frees reply->body. */
enum ctl_exit ctl_request(int fd, const char *method, const char *path, const char *body,
			  struct ctl_reply *reply);

#endif
