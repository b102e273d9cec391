/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the jail's cgroups and moves the jailer into them.
 *
 * Theory of operation. Cgroup file systems are the host's and trusted: their paths may have
 * symbolic links. All settings of all controllers are written first, and the process is moved
 * last, once per hierarchy, so that it never runs half limited, and because cpuset takes no
 * process before it has CPUs and memory nodes.
 *
 * Version 1 [linux admin-guide/cgroup-v1]: a hierarchy per controller. A fresh cpuset has empty
 * `cpus` and `mems`; what is empty is filled with the parent's, from the top down, so that each
 * level finds a value above. Jailers that run in parallel write the same value.
 *
 * Version 2 [linux admin-guide/cgroup-v2]: one hierarchy. A controller has files in a cgroup only
 * if each ancestor hands it down by cgroup.subtree_control. What is handed down already isn't
 * written again: parallel starts would queue on the kernel's one lock for it.
 */
#include "tools/jailer/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	LINE_LEN_MAX = 4096,
	DIR_MODE = 0755
};

/* --- Arguments --- */

/* Whether `path` is relative, without `.` and `..` among its parts. */
static bool stays_below(const char *path)
{
	if (path[0] == '/') {
		return false;
	}
	while (*path != '\0') {
		size_t len = strcspn(path, "/");

		if ((len == 1 && path[0] == '.') || (len == 2 && strncmp(path, "..", 2) == 0)) {
			return false;
		}
		path += len;
		path += *path == '/';
	}
	return true;
}

int cgroup_check_parent(const char *parent, struct error *err)
{
	if (!stays_below(parent)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Parent cgroup path is invalid. Path should not be absolute or "
				 "contain '..' or '.'");
	}
	return 0;
}

int cgroup_setting_parse(const char *text, struct cgroup_setting *setting, struct error *err)
{
	const char *equals = strchr(text, '=');

	/* A value may have further ones: io.max takes "8:0 rbps=1048576". */
	if (equals == NULL || equals[1] == '\0') {
		return error_set(err, ERR_BAD_REQUEST, "Invalid format for cgroups: %s", text);
	}
	size_t file_len = (size_t)(equals - text);
	size_t controller_len = strcspn(text, ".");

	if (controller_len == 0 || controller_len >= file_len ||
	    memchr(text, '/', file_len) != NULL || file_len > NAME_MAX) {
		return error_set(err, ERR_BAD_REQUEST, "Cgroup invalid file: %s", text);
	}
	*setting = (struct cgroup_setting){
		.file = text,
		.file_len = file_len,
		.controller_len = controller_len,
		.value = equals + 1,
	};
	return 0;
}

/* --- Paths and files --- */

/* <dir>/<name>, or <dir> alone for an empty name. */
static int join(char path[PATH_MAX], const char *dir, const char *name, struct error *err)
{
	int len = snprintf(path, PATH_MAX, "%s%s%s", dir, *name != '\0' ? "/" : "", name);

	if (len < 0 || len >= PATH_MAX) {
		return error_set(err, ERR_TOO_LARGE, "The cgroup's path is too long: %.100s...",
				 dir);
	}
	return 0;
}

/* The kernel takes one write(2) as one value. */
static int write_line(const char *dir, const char *name, const char *value, struct error *err)
{
	char path[PATH_MAX];
	char line[LINE_LEN_MAX];

	if (join(path, dir, name, err) < 0) {
		return -1;
	}
	int len = snprintf(line, sizeof(line), "%s\n", value);
	AUTO_FD fd = -1;

	if (len < 0 || len >= (int)sizeof(line)) {
		return error_set(err, ERR_TOO_LARGE, "The value for %s is too long", path);
	}
	fd = open(path, O_WRONLY | O_CLOEXEC | O_TRUNC);
	if (fd < 0 || write(fd, line, (size_t)len) != len) {
		return error_sys(err, "Failed to write to %s", path);
	}
	return 0;
}

/* The first line of a file, without its line feed. False if it can't be read. */
static bool read_line(const char *dir, const char *name, char line[LINE_LEN_MAX])
{
	struct error err = {0};
	char path[PATH_MAX];

	if (join(path, dir, name, &err) < 0) {
		return false;
	}
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, line, LINE_LEN_MAX - 1) : -1;

	if (len < 0) {
		return false;
	}
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static bool has_word(const char *words, const char *separators, const char *word, size_t word_len)
{
	while (*words != '\0') {
		size_t len = strcspn(words, separators);

		if (len == word_len && strncmp(words, word, len) == 0) {
			return true;
		}
		words += len;
		words += *words != '\0';
	}
	return false;
}

/* The way from a mount point down to a cgroup. */
struct descent {
	const char *mount;
	const char *below; /* relative to the mount point */
	/* `child` is the cgroup below `dir` on the way. */
	int (*step)(const char *dir, const char *child, const void *arg, struct error *err);
	const void *arg;
};

/* Calls step() for each pair of neighbours, from the top down. */
static int descend(const struct descent *descent, struct error *err)
{
	char dir[PATH_MAX];
	char child[PATH_MAX];
	const char *next = descent->below;

	if (join(dir, descent->mount, "", err) < 0) {
		return -1;
	}
	while (*next != '\0') {
		size_t len = strcspn(next, "/");
		char name[NAME_MAX + 1];

		if (len == 0) {
			next++;
			continue;
		}
		(void)!snprintf(name, sizeof(name), "%.*s", (int)len, next);
		next += len;
		if (join(child, dir, name, err) < 0 ||
		    descent->step(dir, child, descent->arg, err) < 0) {
			return -1;
		}
		memcpy(dir, child, sizeof(dir));
	}
	return 0;
}

static int make_child(const char *dir, const char *child, const void *arg, struct error *err)
{
	(void)dir;
	(void)arg;
	if (mkdir(child, DIR_MODE) < 0 && errno != EEXIST) {
		return error_sys(err, "Failed to create directory %s", child);
	}
	return 0;
}

/* Where cgroups are mounted: version 1 those with the setting's controller; version 2: NULL. */
static int find_mount(const struct cgroup_config *config, const char *mounts,
		      const struct cgroup_setting *setting, char dir[PATH_MAX], struct error *err)
{
	const char *type = config->version == 2 ? "cgroup2" : "cgroup";
	FILE *table = setmntent(mounts, "re");
	char line[LINE_LEN_MAX];
	struct mntent entry;
	bool has_type = false;
	bool has_other = false;
	bool is_found = false;

	if (table == NULL) {
		return error_sys(err, "Failed to open file %s", mounts);
	}
	while (!is_found && getmntent_r(table, &entry, line, sizeof(line)) != NULL) {
		if (strcmp(entry.mnt_type, type) != 0) {
			has_other |= strncmp(entry.mnt_type, "cgroup", 6) == 0;
			continue;
		}
		has_type = true;
		is_found = setting == NULL ||
			   has_word(entry.mnt_opts, ",", setting->file, setting->controller_len);
		if (is_found && join(dir, entry.mnt_dir, "", err) < 0) {
			endmntent(table);
			return -1;
		}
	}
	endmntent(table);
	if (!has_type) {
		error_set(err, ERR_NOT_SUPPORTED,
			  "Hierarchy not found: No hierarchy found for this cgroup version.%s%s",
			  has_other ? " This host has the other one: add --cgroup-version " : "",
			  !has_other		 ? ""
			  : config->version == 2 ? "1"
						 : "2");
		return -1;
	}
	if (!is_found && setting != NULL) {
		return error_set(err, ERR_NOT_SUPPORTED, "Controller %.*s is unavailable",
				 (int)setting->controller_len, setting->file);
	}
	return 0;
}

/* --- Settings --- */

/* v1: `child` gets the value of `dir` in the file `arg`, if it has none. */
static int inherit(const char *dir, const char *child, const void *arg, struct error *err)
{
	const char *file = arg;
	char own[LINE_LEN_MAX];
	char parents[LINE_LEN_MAX];

	if (!read_line(child, file, own) || own[0] != '\0') {
		return 0;
	}
	if (!read_line(dir, file, parents) || parents[0] == '\0') {
		return error_set(err, ERR_HOST,
				 "Failed to inherit cgroups configurations from file %s in path %s",
				 file, child);
	}
	if (write_line(child, file, parents, err) < 0) {
		/*
		 * Another jailer may have set the value first, and the kernel refuses changes once
		 * the cgroup has children.
		 */
		if (read_line(child, file, own) && own[0] != '\0') {
			error_clear(err);
			return 0;
		}
		return -1;
	}
	return 0;
}

/* v2: `dir` hands the controller of `arg` down to `child`. */
static int hand_down(const char *dir, const char *child, const void *arg, struct error *err)
{
	const struct cgroup_setting *setting = arg;
	char line[LINE_LEN_MAX];
	char word[NAME_MAX + 2];

	(void)child;
	if (read_line(dir, "cgroup.subtree_control", line) &&
	    has_word(line, " ", setting->file, setting->controller_len)) {
		return 0;
	}
	(void)!snprintf(word, sizeof(word), "+%.*s", (int)setting->controller_len, setting->file);
	return write_line(dir, "cgroup.subtree_control", word, err);
}

static int apply_v1(const struct cgroup_setting *setting, struct descent *way, const char *leaf,
		    struct error *err)
{
	static const char *const cpuset_files[] = {"cpuset.cpus", "cpuset.mems"};
	char file[NAME_MAX + 1];

	way->step = inherit;
	if (strncmp(setting->file, "cpuset.", strlen("cpuset.")) == 0) {
		for (size_t i = 0; i < ARRAY_COUNT(cpuset_files); i++) {
			way->arg = cpuset_files[i];
			if (descend(way, err) < 0) {
				return -1;
			}
		}
	}
	(void)!snprintf(file, sizeof(file), "%.*s", (int)setting->file_len, setting->file);
	return write_line(leaf, file, setting->value, err);
}

static int apply_v2(const struct cgroup_setting *setting, struct descent *way, const char *leaf,
		    struct error *err)
{
	char file[NAME_MAX + 1];

	way->step = hand_down;
	way->arg = setting;
	if (descend(way, err) < 0) {
		return -1;
	}
	(void)!snprintf(file, sizeof(file), "%.*s", (int)setting->file_len, setting->file);
	return write_line(leaf, file, setting->value, err);
}

/* Version 1 needs no check: the mount point belongs to the controller. */
static int check_controller(const struct cgroup_config *config, const char *mount,
			    const struct cgroup_setting *setting, struct error *err)
{
	char controllers[LINE_LEN_MAX];

	if (config->version == 2 &&
	    (!read_line(mount, "cgroup.controllers", controllers) ||
	     !has_word(controllers, " ", setting->file, setting->controller_len))) {
		return error_set(err, ERR_NOT_SUPPORTED, "Controller %.*s is unavailable",
				 (int)setting->controller_len, setting->file);
	}
	return 0;
}

/* The jail's cgroup of one hierarchy, made if it isn't there yet. */
static int make(const char *mount, const char *below, struct error *err)
{
	struct descent way = {.mount = mount, .below = below, .step = make_child};

	return descend(&way, err);
}

static int apply(const struct cgroup_config *config, const char *mount, const char *below,
		 const struct cgroup_setting *setting, struct error *err)
{
	struct descent way = {.mount = mount, .below = below};
	char leaf[PATH_MAX];

	if (join(leaf, mount, below, err) < 0) {
		return -1;
	}
	if (config->version == 1) {
		return apply_v1(setting, &way, leaf, err);
	}
	return apply_v2(setting, &way, leaf, err);
}

/* --- Moving the process --- */

static int move(const char *dir, const char *file, pid_t pid, struct error *err)
{
	char text[16];

	/* `tasks` takes single threads; the jailer has only one. */
	(void)!snprintf(text, sizeof(text), "%d", pid);
	return write_line(dir, file, text, err);
}

/* Upstream runs without a limit in silence; squib warns. */
static void warn_unlimited(const struct cgroup_config *config)
{
	if (config->is_parent_given) {
		fprintf(stderr,
			"Warning! There is no cgroup %s to join, and no --cgroup: the program runs "
			"without limits of a cgroup.\n",
			config->parent);
	}
}

/* [compat] A parent without settings is a cgroup to join, if there is one. */
static int join_parent(const struct cgroup_config *config, const char *mounts, pid_t pid,
		       struct error *err)
{
	struct error cause = {0};
	char mount[PATH_MAX];
	char dir[PATH_MAX];

	if (find_mount(config, mounts, NULL, mount, err) < 0 ||
	    join(dir, mount, config->parent, err) < 0) {
		return -1;
	}
	if (access(dir, F_OK) < 0) {
		warn_unlimited(config);
		return 0;
	}
	if (move(dir, "cgroup.procs", pid, &cause) < 0) {
		return error_set(err, ERR_HOST,
				 "Failed to move process to cgroup (%.120s): %s (os error %d).\n"
				 "Hint: If you intended to create a child cgroup under %.120s, "
				 "pass any --cgroup parameters.",
				 dir, error_os_text(cause.sys), cause.sys, dir);
	}
	return 0;
}

typedef char path_buffer[PATH_MAX];

/* The mount point for setting `i`, known already where an earlier one has the same controller. */
static int find_again(const struct cgroup_config *config, const char *mounts, size_t i,
		      path_buffer *found, struct error *err)
{
	const struct cgroup_setting *setting = &config->settings[i];

	for (size_t k = 0; k < i; k++) {
		const struct cgroup_setting *other = &config->settings[k];

		if (config->version == 2 ||
		    (other->controller_len == setting->controller_len &&
		     strncmp(other->file, setting->file, setting->controller_len) == 0)) {
			memcpy(found[i], found[k], sizeof(found[i]));
			return 0;
		}
	}
	return find_mount(config, mounts, config->version == 1 ? setting : NULL, found[i], err);
}

/* Whether no setting before `i` is in the same hierarchy: controllers may share one. */
static bool is_first(const path_buffer *found, size_t i)
{
	size_t k = 0;

	while (strcmp(found[k], found[i]) != 0) {
		k++;
	}
	return k == i;
}

static int move_to_all(const struct cgroup_config *config, const path_buffer *found,
		       const char *below, pid_t pid, struct error *err)
{
	const char *file = config->version == 2 ? "cgroup.procs" : "tasks";

	for (size_t i = 0; i < config->setting_count; i++) {
		char leaf[PATH_MAX];

		if (is_first(found, i) &&
		    (join(leaf, found[i], below, err) < 0 || move(leaf, file, pid, err) < 0)) {
			return -1;
		}
	}
	return 0;
}

int cgroup_setup(const struct cgroup_config *config, const char *mounts, const char *id, pid_t pid,
		 struct error *err)
{
	char below[PATH_MAX];

	if (config->setting_count == 0 && config->version == 2) {
		return join_parent(config, mounts, pid, err);
	}
	if (config->setting_count == 0) {
		warn_unlimited(config);
		return 0;
	}
	if (join(below, config->parent, id, err) < 0) {
		return -1;
	}
	AUTO_FREE path_buffer *found = calloc(config->setting_count, sizeof(*found));

	if (found == NULL) {
		return error_sys(err, "No memory for the cgroups' paths");
	}
	for (size_t i = 0; i < config->setting_count; i++) {
		if (find_again(config, mounts, i, found, err) < 0 ||
		    check_controller(config, found[i], &config->settings[i], err) < 0) {
			return -1;
		}
	}
	for (size_t i = 0; i < config->setting_count; i++) {
		if ((is_first((const path_buffer *)found, i) && make(found[i], below, err) < 0) ||
		    apply(config, found[i], below, &config->settings[i], err) < 0) {
			return -1;
		}
	}
	return move_to_all(config, (const path_buffer *)found, below, pid, err);
}
