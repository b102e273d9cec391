/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups by the texts of /etc/passwd and /etc/group. */
#ifndef TOOLS_GUEST_INIT_USER_H
#define TOOLS_GUEST_INIT_USER_H

#include <stdbool.h>
#include <sys/types.h>

enum {
	USER_GROUPS_MAX = 64,
	USER_TEXT_MAX = 256 /* bytes of a name and of a path */
};

struct user {
	uid_t uid;
	gid_t gid;
	char home[USER_TEXT_MAX];
	gid_t groups[USER_GROUPS_MAX]; /* which it belongs to besides */
	unsigned group_count;
};

/*
 * The user that `wanted` means: NAME|UID[:GROUP|GID], or "" for root. A number that has no line in
 * the text is taken as it is. false: there is no user or group of that name.
 */
bool user_find(const char *passwd, const char *group, const char *wanted, struct user *user);

#endif
