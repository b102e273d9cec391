/* SPDX-License-Identifier: Apache-2.0 */
/* The guest kernel's command line. */
#include "vmm/machine/cmdline.h"

#include <stdio.h>
#include <string.h>

static int too_long(struct error *err)
{
	return error_set(
		err, ERR_TOO_LARGE,
		"The kernel command line is invalid: with what squib adds it has more than "
		"%d bytes; shorten boot_args",
		ARCH_CMDLINE_MAX - 1);
}

/* The "--" that ends the kernel's half, as the kernel sees it: a word, not within quotes. */
static const char *find_separator(const char *args)
{
	bool is_quoted = false;

	for (const char *at = args; *at != '\0'; at++) {
		if (*at == '"') {
			is_quoted = !is_quoted;
		}
		if (!is_quoted && (at == args || at[-1] == ' ') && strncmp(at, "--", 2) == 0 &&
		    (at[2] == ' ' || at[2] == '\0')) {
			return at;
		}
	}
	return NULL;
}

int cmdline_init(struct cmdline *cmdline, const char *boot_args, struct error *err)
{
	*cmdline = (struct cmdline){0};
	const char *separator = find_separator(boot_args);
	size_t kernel_len = separator != NULL ? (size_t)(separator - boot_args) : strlen(boot_args);
	const char *init = separator != NULL ? separator + 2 : "";

	/* The spaces around the separator come back with it. */
	while (separator != NULL && kernel_len > 0 && boot_args[kernel_len - 1] == ' ') {
		kernel_len--;
	}
	init += strspn(init, " ");
	if (kernel_len >= sizeof(cmdline->kernel) || strlen(init) >= sizeof(cmdline->init)) {
		return too_long(err);
	}
	memcpy(cmdline->kernel, boot_args, kernel_len);
	memcpy(cmdline->init, init, strlen(init));
	return 0;
}

int cmdline_add(struct cmdline *cmdline, const char *parameter, struct error *err)
{
	size_t len = strlen(cmdline->kernel);
	const char *space = len > 0 ? " " : "";

	if (parameter[0] == '\0') {
		return 0;
	}
	if (len + strlen(space) + strlen(parameter) >= sizeof(cmdline->kernel)) {
		return too_long(err);
	}
	snprintf(cmdline->kernel + len, sizeof(cmdline->kernel) - len, "%s%s", space, parameter);
	return 0;
}

bool cmdline_has(const struct cmdline *cmdline, const char *prefix)
{
	const char *at = cmdline->kernel;

	while ((at = strstr(at, prefix)) != NULL) {
		if (at == cmdline->kernel || at[-1] == ' ') {
			return true;
		}
		at++;
	}
	return false;
}

int cmdline_finish(struct cmdline *cmdline, struct error *err)
{
	const char *separator = cmdline->init[0] != '\0' ? " -- " : "";
	int len = snprintf(cmdline->text, sizeof(cmdline->text), "%s%s%s", cmdline->kernel,
			   separator, cmdline->init);

	if (len < 0 || (size_t)len >= sizeof(cmdline->text)) {
		return too_long(err);
	}
	return 0;
}
