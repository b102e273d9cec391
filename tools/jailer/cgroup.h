/* SPDX-License-Identifier: Apache-2.0 */
/* The jail's cgroups, version 1 or 2. */
#ifndef TOOLS_JAILER_CGROUP_H
#define TOOLS_JAILER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	CGROUP_SETTINGS_MAX = 64
};

/* One --cgroup: "<controller>.<rest of the file's name>=<value>", a pointer into its text. */
struct cgroup_setting {
	const char *file; /* file_len characters, the first controller_len name the controller */
	size_t file_len;
	size_t controller_len;
	const char *value;
};

struct cgroup_config {
	unsigned version;     /* 1 or 2 */
	const char *parent;   /* below the mount point, e.g. "squib" or "tenants/a"; may be "" */
	bool is_parent_given; /* by --parent-cgroup */
	struct cgroup_setting settings[CGROUP_SETTINGS_MAX];
	size_t setting_count;
};

/* Checks a --cgroup and takes it apart; `text` must outlive *setting. */
MUST_CHECK int cgroup_setting_parse(const char *text, struct cgroup_setting *setting,
				    struct error *err);

/* Refuses paths that could leave the mount point. */
MUST_CHECK int cgroup_check_parent(const char *parent, struct error *err);

/*
 * Makes the cgroup <mount point>/<parent>/<id>, writes the settings, moves `pid` there.
 * Without settings: version 1 does nothing, version 2 moves `pid` into <parent> itself if that
 * exists [compat]. `mounts` is /proc/mounts or a test's.
 */
MUST_CHECK int cgroup_setup(const struct cgroup_config *config, const char *mounts, const char *id,
			    pid_t pid, struct error *err);

#endif
