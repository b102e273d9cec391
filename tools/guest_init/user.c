/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and groups. The C library's functions for this load modules, which a static program on
 * somebody else's root file system must not.
 */
#include "tools/guest_init/user.h"

#include <stdlib.h>
#include <string.h>

enum {
	FIELDS = 7, /* passwd: name, password, uid, gid, comment, home, shell; group has four */
	NAME = 0,
	ID = 2,
	PASSWD_GID = 3,
	PASSWD_HOME = 5,
	GROUP_MEMBERS = 3,
};

struct field {
	const char *at;
	size_t len;
};

static bool is(const struct field *field, const char *text)
{
	return strlen(text) == field->len && memcmp(field->at, text, field->len) == 0;
}

/* Cuts the line at `text` into its fields; those that it lacks are empty. Returns the next line. */
static const char *cut_line(const char *text, struct field fields[FIELDS])
{
	const char *end = text + strcspn(text, "\n");

	for (unsigned i = 0; i < FIELDS; i++) {
		size_t len = strcspn(text, ":\n");

		fields[i] = (struct field){.at = text, .len = len};
		text += len;
		text += text < end;
	}
	return *end != '\0' ? end + 1 : end;
}

static bool to_number(const char *text, size_t len, unsigned *number)
{
	char digits[12] = "";
	char *end;

	if (len == 0 || len >= sizeof(digits) || text[0] < '0' || text[0] > '9') {
		return false;
	}
	memcpy(digits, text, len);
	unsigned long value = strtoul(digits, &end, 10);

	*number = (unsigned)value;
	return *end == '\0' && value < (unsigned)-1;
}

/* Finds the line whose name is `wanted`, or whose number is. */
static bool find_line(const char *text, const char *wanted, struct field fields[FIELDS])
{
	unsigned number;
	unsigned id;
	bool is_number = to_number(wanted, strlen(wanted), &number);

	while (*text != '\0') {
		text = cut_line(text, fields);
		if (is(&fields[NAME], wanted) ||
		    (is_number && to_number(fields[ID].at, fields[ID].len, &id) && id == number)) {
			return true;
		}
	}
	return false;
}

static bool is_member(const struct field *members, const struct field *name)
{
	const char *at = members->at;
	const char *end = members->at + members->len;

	while (at < end) {
		size_t len = strcspn(at, ",:\n");

		if (len == name->len && memcmp(at, name->at, len) == 0) {
			return true;
		}
		at += len + 1;
	}
	return false;
}

static void find_groups(const char *text, const struct field *name, struct user *user)
{
	struct field fields[FIELDS];
	unsigned gid;

	while (*text != '\0' && user->group_count < USER_GROUPS_MAX) {
		text = cut_line(text, fields);
		if (is_member(&fields[GROUP_MEMBERS], name) &&
		    to_number(fields[ID].at, fields[ID].len, &gid)) {
			user->groups[user->group_count++] = gid;
		}
	}
}

static bool find_name(const char *passwd, const char *group, const char *wanted, struct user *user)
{
	struct field fields[FIELDS];

	if (!find_line(passwd, wanted, fields)) {
		return to_number(wanted, strlen(wanted), &user->uid);
	}
	if (!to_number(fields[ID].at, fields[ID].len, &user->uid) ||
	    !to_number(fields[PASSWD_GID].at, fields[PASSWD_GID].len, &user->gid)) {
		return false;
	}
	if (fields[PASSWD_HOME].len > 0 && fields[PASSWD_HOME].len < USER_TEXT_MAX) {
		memcpy(user->home, fields[PASSWD_HOME].at, fields[PASSWD_HOME].len);
		user->home[fields[PASSWD_HOME].len] = '\0';
	}
	find_groups(group, &fields[NAME], user);
	return true;
}

bool user_find(const char *passwd, const char *group, const char *wanted, struct user *user)
{
	struct field fields[FIELDS];
	char name[USER_TEXT_MAX];
	const char *colon = strchr(wanted, ':');
	size_t len = colon != NULL ? (size_t)(colon - wanted) : strlen(wanted);

	*user = (struct user){.home = "/"};
	if (len >= sizeof(name)) {
		return false;
	}
	memcpy(name, wanted, len);
	name[len] = '\0';
	if (!find_name(passwd, group, len > 0 ? name : "0", user)) {
		return false;
	}
	if (colon == NULL) {
		return true;
	}
	/* A group that is named is the only one. */
	user->group_count = 0;
	return find_line(group, colon + 1, fields)
		       ? to_number(fields[ID].at, fields[ID].len, &user->gid)
		       : to_number(colon + 1, strlen(colon + 1), &user->gid);
}
