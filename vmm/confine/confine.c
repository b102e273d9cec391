/* SPDX-License-Identifier: Apache-2.0 */
/* Confines threads, in the only order that works. */
#include "vmm/confine/confine.h"

#include <errno.h>

#include "seccomp/essential.h"

void confine_destroy(struct confine *confine)
{
	filter_set_free(&confine->filters);
	landlock_destroy(&confine->landlock);
}

int confine_thread(const struct confine *confine, enum filter_thread thread, int rules,
		   struct error *err)
{
	if (confine == NULL) {
		return 0;
	}
	if (landlock_confine(&confine->landlock, rules, err) < 0) {
		return -1;
	}
	return filter_install(&confine->filters, thread, err);
}

int confine_check_vhost(const struct confine *confine, enum filter_thread thread, struct error *err)
{
	return essential_check_vhost(&confine->filters, thread, err);
}

void confine_explain(const struct confine *confine, const char *what, struct error *err)
{
	if (err->sys == EACCES && confine != NULL && landlock_is_on(&confine->landlock)) {
		(void)error_wrap(err,
				 "With --landlock, a %s goes on only with files of a directory "
				 "that the machine started with",
				 what);
	}
}
