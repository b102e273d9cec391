/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any boot_args, halves of each length, and any parameters. The line has ROOM bytes in place of
 * 2048, so that EVA, which relates no two numbers, can see each length alone. Each half and the
 * whole end with a NUL.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-slevel 1000 -eva-split-return full
 */
#include "tests/eva/error.h"
#include "tests/eva/printf.h"

#include <string.h>

#include "arch/arch.h"

enum {
	ROOM = 12
};

#define ARCH_CMDLINE_MAX ROOM

static int compare(const char *one, const char *other, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (one[i] != other[i] || one[i] == '\0') {
			return 1;
		}
	}
	return 0;
}

static char *find(char *in, const char *what)
{
	for (; *in != '\0'; in++) {
		if (compare(in, what, strlen(what)) == 0) {
			return in;
		}
	}
	return NULL;
}

static size_t span(const char *in, char of)
{
	size_t len = 0;

	while (in[len] == of) {
		len++;
	}
	return len;
}

/* In place of those of the library, of which EVA knows only what they may return. */
#define strncmp(one, other, len) compare(one, other, len)
#define strspn(in, of) span(in, (of)[0])
#define strstr(in, what) find((char *)(in), what)

#include "vmm/machine/cmdline.c"

static struct cmdline cmdline;

static void add(size_t len)
{
	char parameter[3];
	struct error err = {0};

	fill(parameter, sizeof(parameter));
	parameter[sizeof(parameter) - 1] = '\0';
	cmdline = (struct cmdline){0};
	fill(cmdline.kernel, len);
	keep(cmdline_has(&cmdline, "c="));
	memset(cmdline.kernel, 'a', len);
	keep(cmdline_add(&cmdline, parameter, &err));
	/*@ assert cmdline.kernel[ROOM - 1] == 0; */
	if (cmdline_finish(&cmdline, &err) == 0) {
		/*@ assert cmdline.text[ROOM - 1] == 0; */
		keep((unsigned char)cmdline.text[0]);
	}
}

void main(void)
{
	char args[ROOM + 2];
	struct error err = {0};

	/*@ loop unroll ROOM + 2; */
	for (size_t len = 0; len < sizeof(args); len++) {
		fill(args, len);
		args[len] = '\0';
		if (cmdline_init(&cmdline, args, &err) == 0) {
			/*@ assert cmdline.kernel[ROOM - 1] == 0 && cmdline.init[ROOM - 1] == 0; */
			keep((unsigned char)cmdline.kernel[0]);
		}
	}
	/*@ loop unroll ROOM; */
	for (size_t len = 0; len < ROOM; len++) {
		add(len);
	}
}
