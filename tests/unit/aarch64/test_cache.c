/* SPDX-License-Identifier: Apache-2.0 */
/* arch/aarch64/cache.c on a folder that looks like sysfs. */
#include "arch/aarch64/cache.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

struct fake_cache {
	const char *level;
	const char *type;
	const char *size;
	const char *line;
	const char *sets;
	const char *sharers;
};

static void put_file(const char *dir, unsigned index, const char *name, const char *text)
{
	char path[128];

	if (text == NULL) {
		return;
	}
	snprintf(path, sizeof(path), "%s/index%u", dir, index);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/index%u/%s", dir, index, name);
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fprintf(file, "%s\n", text);
	fclose(file);
}

static void read_fake(const struct fake_cache *caches, size_t count, struct cache_list *list)
{
	char dir[] = "/tmp/squib-cache-XXXXXX";
	char command[64];

	cr_assert_not_null(mkdtemp(dir));
	for (unsigned i = 0; i < count; i++) {
		put_file(dir, i, "level", caches[i].level);
		put_file(dir, i, "type", caches[i].type);
		put_file(dir, i, "size", caches[i].size);
		put_file(dir, i, "coherency_line_size", caches[i].line);
		put_file(dir, i, "number_of_sets", caches[i].sets);
		put_file(dir, i, "shared_cpu_map", caches[i].sharers);
	}
	memset(list, 0xa5, sizeof(*list));
	cache_read(dir, list);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_assert_eq(system(command), 0);
}

Test(cache, a_usual_host_is_read_completely)
{
	static const struct fake_cache host[] = {
		{"1", "Data", "64K", "64", "256", "00000001"},
		{"1", "Instruction", "64K", "64", "256", "00000001"},
		{"2", "Unified", "1024K", "64", "2048", "00000003"},
		{"3", "Unified", "32768K", "64", "32768", "ffffffff,ffffffff"},
	};
	static const struct cache expected[] = {
		{1, CACHE_DATA, 64 << 10, 64, 256, 1},
		{1, CACHE_INSTRUCTION, 64 << 10, 64, 256, 1},
		{2, CACHE_UNIFIED, 1 << 20, 64, 2048, 2},
		{3, CACHE_UNIFIED, 32 << 20, 64, 32768, 64},
	};
	struct cache_list list;

	read_fake(host, ARRAY_COUNT(host), &list);
	cr_assert_eq(list.count, ARRAY_COUNT(expected));
	for (size_t i = 0; i < list.count; i++) {
		const struct cache *got = &list.entries[i];

		cr_expect_eq(got->level, expected[i].level);
		cr_expect_eq(got->type, expected[i].type);
		cr_expect_eq(got->size, expected[i].size);
		cr_expect_eq(got->line_size, expected[i].line_size);
		cr_expect_eq(got->sets, expected[i].sets);
		cr_expect_eq(got->cpus, expected[i].cpus);
	}
}

Test(cache, a_host_without_sysfs_has_none)
{
	struct cache_list list = {.count = 3};

	cache_read("/nonexistent", &list);
	cr_assert_eq(list.count, 0);
}

Test(cache, what_cannot_be_is_left_out)
{
	static const struct fake_cache bad[] = {
		{NULL, "Data", "64K", "64", "256", "1"},
		{"1", NULL, "64K", "64", "256", "1"},
		{"1", "Data", "64K", "64", "256", NULL},
		{"0", "Data", "64K", "64", "256", "1"},
		{"4", "Unified", "64K", "64", "256", "1"},
		{"-1", "Data", "64K", "64", "256", "1"},
		{" 1", "Data", "64K", "64", "256", "1"},
		{"1x", "Data", "64K", "64", "256", "1"},
		{"99999999999999999999", "Data", "64K", "64", "256", "1"},
		{"1", "Data ", "64K", "64", "256", "1"},
		{"1", "Data", "64K", "64", "256", "0"},
		{"1", "Data", "64K", "64", "256", "1,x"},
		{"1", "Data", "64K", "64", "256", "-1"},
		{"1", "", "64K", "64", "256", "1"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct cache_list list;

		read_fake(&bad[i], 1, &list);
		cr_expect_eq(list.count, 0, "%zu", i);
	}
}

Test(cache, sizes_that_are_absent_or_absurd_read_as_0)
{
	static const struct fake_cache odd[] = {
		{"1", "Data", NULL, NULL, NULL, "1"},
		{"1", "Data", "64", "64K", "", "1"},
		{"1", "Data", "2097153K", "1048577", "18446744073709551616", "1"},
		{"1", "Data", "-1K", "+64", "0x10", "1"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
		struct cache_list list;

		read_fake(&odd[i], 1, &list);
		cr_expect_eq(list.count, 1, "%zu", i);
		cr_expect_eq(list.entries[0].size, 0, "%zu", i);
		cr_expect_eq(list.entries[0].line_size, 0, "%zu", i);
		cr_expect_eq(list.entries[0].sets, 0, "%zu", i);
	}
}

Test(cache, the_largest_size_does_not_overflow)
{
	static const struct fake_cache large = {"3", "Unified", "2097152K", "64", "1048576", "1"};
	struct cache_list list;

	read_fake(&large, 1, &list);
	cr_assert_eq(list.entries[0].size, UINT32_C(1) << 31);
}

Test(cache, only_the_first_of_two_alike_counts)
{
	static const struct fake_cache twins[] = {
		{"2", "Unified", "64K", "64", "256", "1"},
		{"2", "Unified", "128K", "64", "256", "1"},
	};
	struct cache_list list;

	read_fake(twins, ARRAY_COUNT(twins), &list);
	cr_assert_eq(list.count, 1);
	cr_assert_eq(list.entries[0].size, 64 << 10);
}

Test(cache, a_long_list_is_cut)
{
	static const struct fake_cache one = {"1", "Data", "64K", "64", "256", "1"};
	struct fake_cache many[20] = {0};
	struct cache_list list;

	many[19] = one;
	read_fake(many, ARRAY_COUNT(many), &list);
	cr_assert_eq(list.count, 0);
	many[CACHE_COUNT_MAX - 1] = one;
	read_fake(many, ARRAY_COUNT(many), &list);
	cr_assert_eq(list.count, 1);
}
