/* SPDX-License-Identifier: Apache-2.0 */
/* Which squib a command is for, where that is said by a machine's name. */
#include "tools/squibctl/ctl_target.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/squibctl/ctl_events.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* Commands, and what a machine is then. */
static const struct {
	const char *command;
	const char *event; /* NULL: nothing has happened to it */
	bool takes_name;   /* as the operand */
	bool has_files;	   /* as operands */
} traits[] = {
	{"status", NULL, true, false},	    {"pause", "paused", true, false},
	{"resume", "resumed", true, false}, {"metrics", NULL, true, false},
	{"snapshot", "saved", false, true}, {"fork", "forked", false, true},
};

static int keep(struct ctl_target *target, char *text, const char **word, struct error *err)
{
	if (text == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	target->texts[target->text_count++] = text;
	*word = text;
	return 0;
}

/* "PATH", or "ID=PATH", as it is from the root directory on. */
static int make_absolute(struct ctl_target *target, const char *cwd, const char **word,
			 size_t path_at, struct error *err)
{
	if (*word == NULL || (*word)[path_at] == '/') {
		return 0;
	}
	return keep(target, ctl_text("%.*s%s/%s", (int)path_at, *word, cwd, *word + path_at), word,
		    err);
}

static int make_words_absolute(struct ctl_target *target, const char *cwd, struct ctl_words *words,
			       struct error *err)
{
	for (unsigned i = 0; i < words->count; i++) {
		size_t path_at = strcspn(words->items[i], "=") + 1;

		if (make_absolute(target, cwd, &words->items[i], path_at, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int make_all_absolute(struct ctl_args *args, struct ctl_target *target, bool has_files,
			     struct error *err)
{
	AUTO_FREE char *cwd = getcwd(NULL, 0);

	if (cwd == NULL) {
		return error_sys(err, "Cannot find the working directory");
	}
	for (unsigned i = 0; has_files && i < CTL_OPERANDS_MAX; i++) {
		if (make_absolute(target, cwd, &args->operands[i], 0, err) < 0) {
			return -1;
		}
	}
	return make_words_absolute(target, cwd, &args->drives, err) < 0
		       ? -1
		       : make_words_absolute(target, cwd, &args->pmems, err);
}

int ctl_target_find(struct ctl_args *args, struct ctl_target *target, struct error *err)
{
	const char *name = args->machine;
	bool has_files = false;

	*target = (struct ctl_target){0};
	for (size_t i = 0; i < ARRAY_COUNT(traits); i++) {
		if (strcmp(traits[i].command, args->command->name) == 0) {
			has_files = traits[i].has_files;
			name = traits[i].takes_name && args->operands[0] != NULL ? args->operands[0]
										 : name;
		}
	}
	if (name == NULL) {
		return 0;
	}
	return ctl_machine_open(name, &target->machine, err) < 0 ||
			       ctl_machine_check_runs(&target->machine, err) < 0 ||
			       keep(target, ctl_machine_path(&target->machine, "api.sock"),
				    &args->socket, err) < 0
		       ? -1
		       : make_all_absolute(args, target, has_files, err);
}

void ctl_target_done(const struct ctl_args *args, const struct ctl_target *target)
{
	for (size_t i = 0; target->machine.name != NULL && i < ARRAY_COUNT(traits); i++) {
		if (traits[i].event != NULL &&
		    strcmp(traits[i].command, args->command->name) == 0) {
			ctl_event(&target->machine, traits[i].event, CTL_NO_STATUS);
		}
	}
}

void ctl_target_close(struct ctl_target *target)
{
	ctl_machine_close(&target->machine);
	for (unsigned i = 0; i < target->text_count; i++) {
		free(target->texts[i]);
	}
}
