/* SPDX-License-Identifier: Apache-2.0 */
/* The guest kernel's command line, put together within its limit. */
#ifndef VMM_CMDLINE_H
#define VMM_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "arch/arch.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * What follows "--" in boot_args goes to init, so what squib adds must come before it
 * [linux kernel-parameters]: the two halves are kept apart until the end.
 */
struct cmdline {
	char kernel[ARCH_CMDLINE_MAX];
	char init[ARCH_CMDLINE_MAX];
	char text[ARCH_CMDLINE_MAX]; /* by cmdline_finish */
};

/* Starts with boot_args. */
MUST_CHECK int cmdline_init(struct cmdline *cmdline, const char *boot_args, struct error *err);

/* Adds a parameter; "" adds nothing. */
MUST_CHECK int cmdline_add(struct cmdline *cmdline, const char *parameter, struct error *err);

/* The kernel's half has a parameter that begins with `prefix`, e.g. "console=". */
bool cmdline_has(const struct cmdline *cmdline, const char *prefix);

/* Joins the halves into cmdline->text. */
MUST_CHECK int cmdline_finish(struct cmdline *cmdline, struct error *err);

#endif
