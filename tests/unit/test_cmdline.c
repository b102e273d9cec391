/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/cmdline.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/machine/cmdline.h"

static char *args_of(size_t len)
{
	static char args[2 * ARCH_CMDLINE_MAX];

	memset(args, 'a', len);
	args[len] = '\0';
	return args;
}

Test(cmdline, what_squib_adds_comes_before_the_arguments_of_init)
{
	static const struct {
		const char *boot_args;
		const char *text;
	} cases[] = {
		{"", "pci=off x"},
		{"quiet", "quiet pci=off x"},
		{"quiet -- a b", "quiet pci=off x -- a b"},
		{"-- a", "pci=off x -- a"},
		{"quiet -- a -- b", "quiet pci=off x -- a -- b"},
		{"quiet --verbose y--", "quiet --verbose y-- pci=off x"},
		{"quiet -- ", "quiet pci=off x"},
		{"quiet --", "quiet pci=off x"},
		{"--", "pci=off x"},
		{"a=\"b -- c\" d", "a=\"b -- c\" d pci=off x"},
		{"a=\"b -- c\" -- d", "a=\"b -- c\" pci=off x -- d"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct cmdline cmdline;
		struct error err = {0};

		cr_expect(cmdline_init(&cmdline, cases[i].boot_args, &err) == 0);
		cr_expect(cmdline_add(&cmdline, "pci=off", &err) == 0);
		cr_expect(cmdline_add(&cmdline, "", &err) == 0);
		cr_expect(cmdline_add(&cmdline, "x", &err) == 0);
		cr_expect(cmdline_finish(&cmdline, &err) == 0);
		cr_expect_str_eq(cmdline.text, cases[i].text);
	}
}

Test(cmdline, has_finds_whole_parameters_of_the_kernel_only)
{
	static const struct {
		const char *boot_args;
		bool has;
	} cases[] = {
		{"console=ttyS0", true},
		{"quiet console=ttyS0", true},
		{"quiet", false},
		{"", false},
		{"netconsole=x", false},
		{"netconsole=x console=y", true},
		{"quiet -- console=ttyS0", false},
		{"earlycon=console=", false},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct cmdline cmdline;
		struct error err = {0};

		cr_assert(cmdline_init(&cmdline, cases[i].boot_args, &err) == 0);
		cr_expect(cmdline_has(&cmdline, "console=") == cases[i].has, "%s",
			  cases[i].boot_args);
	}
}

/* Limits include the NUL and everything that squib adds. */
Test(cmdline, limits_are_exact)
{
	static const struct {
		size_t args_len;
		const char *added;
		int result;
	} cases[] = {
		{ARCH_CMDLINE_MAX - 1, "", 0},	  {ARCH_CMDLINE_MAX, "", -1},
		{ARCH_CMDLINE_MAX - 3, "x", 0},	  {ARCH_CMDLINE_MAX - 2, "x", -1},
		{ARCH_CMDLINE_MAX + 500, "", -1}, {ARCH_CMDLINE_MAX - 1, "x", -1},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct cmdline cmdline;
		struct error err = {0};
		bool is_ok = cmdline_init(&cmdline, args_of(cases[i].args_len), &err) == 0 &&
			     cmdline_add(&cmdline, cases[i].added, &err) == 0 &&
			     cmdline_finish(&cmdline, &err) == 0;

		cr_expect(is_ok == (cases[i].result == 0), "case %zu", i);
		if (!is_ok) {
			cr_expect(err.kind == ERR_TOO_LARGE);
			cr_expect(strstr(err.msg, "more than 2047 bytes") != NULL, "%s", err.msg);
		}
	}
}

Test(cmdline, the_halves_together_are_limited_too)
{
	struct cmdline cmdline;
	struct error err = {0};
	char args[4 * ARCH_CMDLINE_MAX];

	snprintf(args, sizeof(args), "%s -- b", args_of(ARCH_CMDLINE_MAX - 6));
	cr_assert(cmdline_init(&cmdline, args, &err) == 0);
	cr_assert(cmdline_finish(&cmdline, &err) == 0, "%s", err.msg);
	cr_assert(strlen(cmdline.text) == ARCH_CMDLINE_MAX - 1);
	snprintf(args, sizeof(args), "%s -- b", args_of(ARCH_CMDLINE_MAX - 5));
	cr_assert(cmdline_init(&cmdline, args, &err) == 0);
	cr_assert(cmdline_finish(&cmdline, &err) == -1);
	cr_assert(err.kind == ERR_TOO_LARGE);
	error_clear(&err);
	snprintf(args, sizeof(args), "x -- %s", args_of(ARCH_CMDLINE_MAX));
	cr_assert(cmdline_init(&cmdline, args, &err) == -1);
}
