/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up root's powers.
 *
 * Theory of operation [capabilities(7)]. The order matters: emptying the bounding set and locking
 * securebits take CAP_SETPCAP, changing groups and users CAP_SETGID and CAP_SETUID, so the
 * process's own sets come last. SECBIT_NOROOT keeps user 0 from getting capabilities by execve(2);
 * SECBIT_NO_SETUID_FIXUP makes our own clearing the only one there is, for user 0 and others
 * alike; all bits are locked. no_new_privs disarms set-ID bits and file capabilities, of which the
 * bounding set would leave nothing anyway.
 */
#include "tools/jailer/caps.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <stdbool.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
	SECUREBITS = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
		     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
};

static int drop_sources(struct error *err)
{
	if (cap_reset_ambient() < 0) {
		return error_sys(err, "Failed to clear the ambient capabilities");
	}
	for (cap_value_t cap = 0; cap < cap_max_bits(); cap++) {
		if (cap_drop_bound(cap) < 0) {
			return error_sys(err, "Failed to drop capability %d from the bounding set",
					 cap);
		}
	}
	if (cap_set_secbits(SECUREBITS) < 0) {
		return error_sys(err, "Failed to lock the securebits");
	}
	return 0;
}

static int switch_user(struct beneath_owner owner, struct error *err)
{
	if (setgroups(0, NULL) < 0) {
		return error_sys(err, "Failed to leave the supplementary groups");
	}
	if (setresgid(owner.gid, owner.gid, owner.gid) < 0) {
		return error_sys(err, "Failed to switch to group %u", owner.gid);
	}
	if (setresuid(owner.uid, owner.uid, owner.uid) < 0) {
		return error_sys(err, "Failed to switch to user %u", owner.uid);
	}
	return 0;
}

static int clear_sets(struct error *err)
{
	cap_t none = cap_init();
	int status = none != NULL ? cap_set_proc(none) : -1;

	if (status < 0) {
		(void)error_sys(err, "Failed to drop the capabilities");
	}
	(void)cap_free(none);
	return status;
}

/* Return values alone are not trusted: what the kernel says of the process decides. */
static int check(struct beneath_owner owner, struct error *err)
{
	cap_t none = cap_init();
	cap_t now = cap_get_proc();
	bool is_clean = none != NULL && now != NULL && cap_compare(none, now) == 0;
	uid_t uid[3];
	gid_t gid[3];

	(void)cap_free(none);
	(void)cap_free(now);
	is_clean = is_clean && getresuid(&uid[0], &uid[1], &uid[2]) == 0 &&
		   getresgid(&gid[0], &gid[1], &gid[2]) == 0 && getgroups(0, NULL) == 0;
	for (unsigned i = 0; i < 3; i++) {
		is_clean = is_clean && uid[i] == owner.uid && gid[i] == owner.gid;
	}
	for (cap_value_t cap = 0; cap < cap_max_bits(); cap++) {
		is_clean = is_clean && cap_get_bound(cap) == 0;
	}
	if (!is_clean || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
		return error_set(err, ERR_HOST, "The kernel left privileges that were dropped");
	}
	return 0;
}

int caps_drop(struct beneath_owner owner, struct error *err)
{
	if (drop_sources(err) < 0 || switch_user(owner, err) < 0 || clear_sets(err) < 0) {
		return -1;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		return error_sys(err, "Failed to set no_new_privs");
	}
	return check(owner, err);
}
