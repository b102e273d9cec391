/* SPDX-License-Identifier: Apache-2.0 */
/* Reads command lines by a table of flags.
 *
 * Theory of operation
 *
 * The grammar is Firecracker's [compat]: `--name value`, never `--name=value`, and a value must
 * not begin with two dashes. First all words are matched against the table, then what flags
 * require and forbid is checked, and only then values are converted, in the order of the table.
 */
#include "vmm/base/flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Limits of --id [compat]. */
enum {
	ID_LEN_MIN = 1,
	ID_LEN_MAX = 64
};

/* --- Values --- */

bool flag_parse_u64(const char *text, uint64_t *value)
{
	char *end = NULL;

	/* strtoull takes signs and white space too. */
	if (*text < '0' || *text > '9') {
		return false;
	}
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static void *member(const struct flag *flag, void *out)
{
	return (char *)out + flag->offset;
}

int flag_store_text(const struct flag *flag, const char *text, void *out, struct error *err)
{
	(void)err;
	*(const char **)member(flag, out) = text;
	return 0;
}

int flag_store_switch(const struct flag *flag, const char *text, void *out, struct error *err)
{
	(void)text;
	(void)err;
	*(bool *)member(flag, out) = true;
	return 0;
}

static bool is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-';
}

int flag_check_id(const char *text, struct error *err)
{
	size_t len = strlen(text);

	if (len < ID_LEN_MIN || len > ID_LEN_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Invalid instance ID: Invalid len (%zu);  the length must be "
				 "between %d and %d",
				 len, ID_LEN_MIN, ID_LEN_MAX);
	}
	for (size_t i = 0; i < len; i++) {
		if (!is_id_char(text[i])) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Invalid instance ID: Invalid char (%c) at position %zu",
					 text[i], i);
		}
	}
	return 0;
}

int flag_store_id(const struct flag *flag, const char *text, void *out, struct error *err)
{
	return flag_check_id(text, err) < 0 ? -1 : flag_store_text(flag, text, out, err);
}

int flag_store_u64(const struct flag *flag, const char *text, void *out, struct error *err)
{
	if (!flag_parse_u64(text, member(flag, out))) {
		return error_set(err, ERR_BAD_REQUEST,
				 "'%s' parameter expected to be of 'u64' type.", flag->name);
	}
	return 0;
}

/* --- Words --- */

static bool has_dashes(const char *word)
{
	return strncmp(word, "--", 2) == 0;
}

static bool has_word(const struct flags_line *line, const char *word)
{
	for (int i = 1; i < line->argc; i++) {
		if (strcmp(line->argv[i], word) == 0) {
			return true;
		}
	}
	return false;
}

enum flags_action flags_begin(struct flags_line *line)
{
	for (int i = 1; i < line->argc; i++) {
		if (strcmp(line->argv[i], "--") == 0) {
			line->argc = i;
		}
	}
	if (has_word(line, "--help") || has_word(line, "-h")) {
		return FLAGS_HELP;
	}
	return has_word(line, "--version") ? FLAGS_VERSION : FLAGS_RUN;
}

/* The index of the flag called `name`, the count of flags if there is none. */
static size_t find_flag(const struct flags_line *line, const char *name)
{
	size_t i = 0;

	while (i < line->flag_count && strcmp(line->flags[i].name, name) != 0) {
		i++;
	}
	return i;
}

static bool is_given(const struct flags_line *line, size_t at)
{
	return (line->given >> at & 1) != 0;
}

static int match_words(struct flags_line *line, struct error *err)
{
	for (int i = 1; i < line->argc; i++) {
		const char *word = line->argv[i];
		const char *name = has_dashes(word) ? word + 2 : word;
		size_t at = has_dashes(word) ? find_flag(line, name) : line->flag_count;

		if (at == line->flag_count) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Found argument '%s' which wasn't expected, or isn't "
					 "valid in this context.",
					 name);
		}
		if (is_given(line, at) && !line->flags[at].is_repeated) {
			return error_set(err, ERR_BAD_REQUEST,
					 "The argument '%s' was provided more than once.", name);
		}
		line->given |= 1ULL << at;
		if (line->flags[at].value == NULL) {
			continue;
		}
		i++;
		if (i >= line->argc || has_dashes(line->argv[i])) {
			return error_set(
				err, ERR_BAD_REQUEST,
				"The argument '%s' requires a value, but none was supplied.", name);
		}
	}
	return 0;
}

static int not_found(const char *name, struct error *err)
{
	return error_set(err, ERR_BAD_REQUEST, "Argument '%s' required, but not found.", name);
}

int flags_match(struct flags_line *line, struct error *err)
{
	line->given = 0;
	if (match_words(line, err) < 0) {
		return -1;
	}
	for (size_t i = 0; i < line->flag_count; i++) {
		const struct flag *flag = &line->flags[i];

		if (!is_given(line, i)) {
			if (flag->is_required) {
				return not_found(flag->name, err);
			}
			continue;
		}
		if (flag->requires != NULL && !is_given(line, find_flag(line, flag->requires))) {
			return not_found(flag->requires, err);
		}
		if (flag->forbids != NULL && is_given(line, find_flag(line, flag->forbids))) {
			return error_set(err, ERR_BAD_REQUEST,
					 "Argument '%s' cannot be used together with argument "
					 "'%s'.",
					 flag->forbids, flag->name);
		}
	}
	return 0;
}

/* Stores every value that the line has for one flag. */
static int store_given(const struct flags_line *line, const struct flag *flag, void *out,
		       struct error *err)
{
	for (int i = 1; i < line->argc; i++) {
		const struct flag *found = &line->flags[find_flag(line, line->argv[i] + 2)];
		const char *text = found->value != NULL ? line->argv[++i] : "";

		if (found == flag && flag->store(flag, text, out, err) < 0) {
			return -1;
		}
	}
	return 0;
}

int flags_store(const struct flags_line *line, void *out, struct error *err)
{
	for (size_t i = 0; i < line->flag_count; i++) {
		const struct flag *flag = &line->flags[i];

		if (flag->store == NULL) {
			continue;
		}
		if (is_given(line, i) && store_given(line, flag, out, err) < 0) {
			return -1;
		}
		if (!is_given(line, i) && flag->by_default != NULL &&
		    flag->store(flag, flag->by_default, out, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* --- Help --- */

void flag_print(const struct flag *flag, int width, FILE *out)
{
	char left[64];

	(void)!snprintf(left, sizeof(left), "--%s%s%s", flag->name, flag->value != NULL ? " " : "",
			flag->value != NULL ? flag->value : "");
	fprintf(out, "  %-*s%s", width, left, flag->help);
	if (flag->by_default != NULL) {
		fprintf(out, " (default: %s)", flag->by_default);
	}
	fputs(flag->is_required ? " (required)\n" : "\n", out);
}
