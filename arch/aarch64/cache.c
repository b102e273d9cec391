/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the caches of the host's first CPU from sysfs.
 *
 * Theory of operation. Each cache is a folder index<n> with one value per file
 * [linux Documentation/ABI/testing/sysfs-devices-system-cpu]. A missing folder ends the list; a
 * cache without a known level, type and number of sharers is dropped; sizes that are missing or
 * beyond any real cache read as 0, which leaves the property out of the FDT.
 */
#include "arch/aarch64/cache.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	VALUE_LEN_MAX = 512, /* shared_cpu_map of 1024 CPUs has 287 bytes */
	SIZE_KIB_MAX = 2 << 20,
	FIELD_MAX = 1 << 20, /* sets, bytes per line */
};

/* Reads one value without its newline. False where there is none. */
static bool read_value(int dir, unsigned index, const char *name, char text[VALUE_LEN_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), "index%u/%s", index, name);
	AUTO_FD fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		return false;
	}
	/* sysfs hands out a whole value per read. */
	ssize_t len = read(fd, text, VALUE_LEN_MAX - 1);

	if (len <= 0) {
		return false;
	}
	text[len] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return true;
}

/* A decimal number of 1..max followed by `suffix`; 0 for anything else. */
static uint32_t read_number(int dir, unsigned index, const char *name, const char *suffix,
			    unsigned long max)
{
	char text[VALUE_LEN_MAX];
	char *end;

	if (!read_value(dir, index, name, text) || text[0] < '0' || text[0] > '9') {
		return 0;
	}
	unsigned long value = strtoul(text, &end, 10);

	return strcmp(end, suffix) == 0 && value <= max ? (uint32_t)value : 0;
}

static bool read_type(int dir, unsigned index, enum cache_type *type)
{
	static const char *const names[] = {
		[CACHE_DATA] = "Data",
		[CACHE_INSTRUCTION] = "Instruction",
		[CACHE_UNIFIED] = "Unified",
	};
	char text[VALUE_LEN_MAX];

	if (!read_value(dir, index, "type", text)) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*type = (enum cache_type)i;
			return true;
		}
	}
	return false;
}

/* How many bits a mask like "ff,00000003" has; 0 if it is none. */
static unsigned read_sharers(int dir, unsigned index)
{
	char text[VALUE_LEN_MAX];
	unsigned count = 0;

	if (!read_value(dir, index, "shared_cpu_map", text)) {
		return 0;
	}
	for (const char *c = text; *c != '\0'; c++) {
		const char digit[2] = {*c, '\0'};
		char *end;
		unsigned long bits = strtoul(digit, &end, 16);

		if (end == digit && *c != ',') {
			return 0;
		}
		count += (unsigned)__builtin_popcountl(bits);
	}
	return count;
}

static bool is_known(const struct cache_list *list, unsigned level, enum cache_type type)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->entries[i].level == level && list->entries[i].type == type) {
			return true;
		}
	}
	return false;
}

void cache_read(const char *dir, struct cache_list *list)
{
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*list = (struct cache_list){0};
	if (fd < 0) {
		return;
	}
	for (unsigned index = 0; index < CACHE_COUNT_MAX; index++) {
		struct cache cache = {
			.level = read_number(fd, index, "level", "", CACHE_LEVEL_MAX),
			.size = read_number(fd, index, "size", "K", SIZE_KIB_MAX) * (uint32_t)KIB,
			.line_size = read_number(fd, index, "coherency_line_size", "", FIELD_MAX),
			.sets = read_number(fd, index, "number_of_sets", "", FIELD_MAX),
			.cpus = read_sharers(fd, index),
		};

		/* Two of one kind would become two FDT nodes of one name. */
		if (cache.level == 0 || cache.cpus == 0 || !read_type(fd, index, &cache.type) ||
		    is_known(list, cache.level, cache.type)) {
			continue;
		}
		list->entries[list->count++] = cache;
	}
}
