/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/huge_pool.h"

#include <stdio.h>

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

long huge_pool(const char *name)
{
	char path[128];
	long number = -1;

	snprintf(path, sizeof(path), POOL "%s", name);
	FILE *file = fopen(path, "re");

	if (file != NULL) {
		(void)!fscanf(file, "%ld", &number);
		fclose(file);
	}
	return number;
}

bool huge_pool_set(long pages)
{
	FILE *file = fopen(POOL "nr_hugepages", "we");

	if (file != NULL) {
		fprintf(file, "%ld\n", pages);
		fclose(file);
	}
	return huge_pool("nr_hugepages") == pages;
}
