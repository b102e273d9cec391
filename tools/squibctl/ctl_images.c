/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of images, for people.
 *
 * Theory of operation. Each image has a file with the name by which it was last asked for, whose
 * time is that of its last use. An image is removed under the lock of those who make images. One
 * that a machine is about to use was asked for just now, and is younger than any sensible age; one
 * that a machine uses is in its record, and one that was saved has a link in the image's directory
 * to what was saved: it counts as long as that is there.
 */
#include "tools/squibctl/ctl_images.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/squibctl/ctl_clean.h"
#include "tools/squibctl/ctl_image.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_request.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_session.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	NAME_MAX_LEN = 64 << 10,
	STAT_BLOCK = 512, /* of st_blocks */
	PRUNE_AGE_S = 24 * 3600,
};

bool ctl_images_age(const char *text, uint64_t *seconds)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if (text[0] >= '0' && text[0] <= '9' && end[0] == units[i].letter &&
		    end[1] == '\0') {
			return mul_u64(number, units[i].seconds, seconds);
		}
	}
	return false;
}

/* --- what was saved --- */

/* The name of the link to a directory of save, which has it in no other place; on the heap. */
static char *pin_name(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0
		       ? ctl_text("saved-%ju-%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino)
		       : NULL;
}

/* Whether the disk is that of an image of the cache. */
static bool is_cached(const char *disk)
{
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");
	AUTO_FREE char *dir = home != NULL ? ctl_text("%s/images/", home) : NULL;

	return dir != NULL && strncmp(disk, dir, strlen(dir)) == 0;
}

void ctl_images_pin(const char *disk, const char *dir)
{
	AUTO_FREE char *name = pin_name(dir);
	AUTO_FREE char *link =
		name != NULL ? ctl_text("%.*s/%s", (int)(strrchr(disk, '/') - disk), disk, name)
			     : NULL;

	if (link != NULL && is_cached(disk)) {
		(void)!symlink(dir, link);
	}
}

/* How many directories of save are where they were, and need the image. */
static unsigned count_saved(const char *disk)
{
	AUTO_FREE char *dir = strndup(disk, (size_t)(strrchr(disk, '/') - disk));
	struct dirent **entries = NULL;
	int count = dir != NULL && is_cached(disk) ? scandir(dir, &entries, NULL, NULL) : 0;
	unsigned found = 0;

	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		AUTO_FREE char *link = ctl_text("%s/%s", dir, name);
		AUTO_FREE char *now =
			link != NULL && strncmp(name, "saved-", 6) == 0 ? pin_name(link) : NULL;

		found += now != NULL && strcmp(now, name) == 0 ? 1 : 0;
		free(entries[i]);
	}
	free(entries);
	return found;
}

/* --- what there is --- */

unsigned ctl_images_users(const char *disk)
{
	struct error ignored = {0};
	json_t *names = ctl_machine_names(&ignored);
	const json_t *name;
	unsigned count = count_saved(disk);
	size_t i;

	json_array_foreach(names, i, name)
	{
		struct machine machine = {0};

		if (ctl_machine_open(json_string_value(name), &machine, &ignored) == 0 &&
		    ctl_machine_state(&machine) <= MACHINE_RUNNING) {
			const char *its = ctl_machine_text(&machine, "image_disk");

			count += its != NULL && strcmp(its, disk) == 0 ? 1 : 0;
		}
		ctl_machine_close(&machine);
	}
	json_decref(names);
	return count;
}

/* An image of the cache as an object: name, id, path, bytes, used, machines. NULL: it is none. */
static json_t *describe(const char *dir, const char *id)
{
	AUTO_FREE char *path = ctl_text("%s/%s", dir, id);
	AUTO_FREE char *disk = ctl_text("%s/%s/disk.erofs", dir, id);
	AUTO_FREE char *used = ctl_text("%s/%s/" CTL_IMAGE_USED, dir, id);
	AUTO_FREE char *name = NULL;
	struct error ignored = {0};
	struct stat disk_st;
	struct stat used_st;
	size_t len;

	if (path == NULL || disk == NULL || used == NULL || stat(disk, &disk_st) < 0 ||
	    strstr(id, ".tmp") != NULL) {
		return NULL;
	}
	if (stat(used, &used_st) < 0 ||
	    read_file(used, "A name", NAME_MAX_LEN, &name, &len, &ignored) < 0) {
		/* Made before there were such files. */
		used_st = disk_st;
	}
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i}", "name", name != NULL ? name : id, "id",
			 id, "path", path, "bytes", (json_int_t)disk_st.st_blocks * STAT_BLOCK,
			 "used", (json_int_t)used_st.st_mtime, "machines",
			 (int)ctl_images_users(disk));
}

/* All of them, a new array; *dir is on the heap. NULL with an error. */
static json_t *list_images(char **dir, struct error *err)
{
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");
	struct dirent **entries = NULL;
	json_t *list = json_array();

	*dir = home != NULL ? ctl_text("%s/images", home) : NULL;
	if (*dir == NULL || ctl_make_dir(*dir, err) < 0) {
		json_decref(list);
		return NULL;
	}
	int count = scandir(*dir, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		json_t *image = describe(*dir, entries[i]->d_name);

		if (image != NULL) {
			json_array_append_new(list, image);
		}
		free(entries[i]);
	}
	free(entries);
	return list;
}

/* --- images --- */

static json_int_t number_of(const json_t *image, const char *key)
{
	return json_integer_value(json_object_get(image, key));
}

static void print_image(const json_t *image)
{
	AUTO_FREE char *name = strdup(json_string_value(json_object_get(image, "name")));
	time_t used = (time_t)number_of(image, "used");
	char at[32] = "";
	struct tm tm;

	if (name == NULL) {
		return;
	}
	clean_text(name, strlen(name), '\0');
	strftime(at, sizeof(at), "%FT%TZ", gmtime_r(&used, &tm));
	printf("%8.1f  %s  %8lld  %s\n", (double)number_of(image, "bytes") / MIB, at,
	       (long long)number_of(image, "machines"), name);
}

int ctl_images_run(const struct ctl_args *args)
{
	AUTO_FREE char *dir = NULL;
	struct error err = {0};
	json_t *list = list_images(&dir, &err);
	const json_t *image;
	size_t i;

	if (list == NULL) {
		return (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	if (args->run.json) {
		ctl_print_json(list);
	} else {
		printf("%8s  %-20s  %8s  %s\n", "MIB", "LAST USE", "MACHINES", "IMAGE");
		json_array_foreach(list, i, image)
		{
			print_image(image);
		}
	}
	json_decref(list);
	return CTL_EXIT_OK;
}

/* --- prune --- */

/* Names of archives and registries whose image is no longer there. */
static void forget_names(const char *dir)
{
	struct dirent **entries = NULL;
	int count = scandir(dir, &entries, NULL, NULL);

	for (int i = 0; i < count; i++) {
		const char *file = entries[i]->d_name;
		AUTO_FREE char *path = ctl_text("%s/%s", dir, file);
		AUTO_FREE char *digest = NULL;
		struct error ignored = {0};
		size_t len;

		if (path != NULL && strncmp(file, "ref-", strlen("ref-")) == 0 &&
		    strchr(file, '.') == NULL &&
		    read_file(path, "A digest", NAME_MAX_LEN, &digest, &len, &ignored) == 0) {
			AUTO_FREE char *image = ctl_text("%s/oci-%s", dir, digest);

			if (image != NULL && access(image, F_OK) < 0) {
				unlink(path);
			}
		}
		free(entries[i]);
	}
	free(entries);
}

/* What was used since a time, or is used, stays. */
static json_int_t prune(const json_t *list, time_t before)
{
	json_int_t bytes = 0;
	const json_t *image;
	size_t i;

	json_array_foreach(list, i, image)
	{
		if (number_of(image, "machines") == 0 && number_of(image, "used") <= before) {
			ctl_remove_tree(json_string_value(json_object_get(image, "path")));
			bytes += number_of(image, "bytes");
			print_image(image);
		}
	}
	return bytes;
}

int ctl_prune_run(const struct ctl_args *args)
{
	AUTO_FREE char *dir = NULL;
	uint64_t age_s = PRUNE_AGE_S;
	struct error err = {0};
	AUTO_FD lock = -1;
	time_t now = time(NULL);

	if (args->run.older != NULL && !ctl_images_age(args->run.older, &age_s)) {
		return (int)ctl_fail(CTL_EXIT_USAGE, "--older is an age like 12h or 7d", NULL);
	}
	if (ctl_image_lock(&lock, &err) < 0) {
		return (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	json_t *list = list_images(&dir, &err);

	if (list == NULL) {
		return (int)ctl_fail(CTL_EXIT_REFUSED, err.msg, NULL);
	}
	json_int_t bytes = prune(list, age_s < (uint64_t)now ? now - (time_t)age_s : 0);

	forget_names(dir);
	printf("%8.1f  MiB removed\n", (double)bytes / MIB);
	json_decref(list);
	return CTL_EXIT_OK;
}
