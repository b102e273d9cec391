/* SPDX-License-Identifier: Apache-2.0 */
/* What this host lacks for which feature, and the command that cures it: squibctl doctor. */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include <stdbool.h>

/* What is found elsewhere. Borrowed. */
struct doctor_plan {
	const char *squib;	  /* the program: a path, or a name in PATH */
	const char *kernel;	  /* what squibctl run would boot; NULL: there is none */
	const char *virtiofsd;	  /* what it would share directories by; NULL: there is none */
	bool has_user_namespaces; /* which that needs for users who are not root */
};

/*
 * Looks at this host as the user who runs it, changes nothing, and prints a table, or JSON. Returns
 * an exit status: 0 if all that every machine needs is there, else 1. On the main thread, before
 * there are others.
 */
int doctor(const struct doctor_plan *plan, bool is_json);

#endif
