/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the file of compiled filters: programs lie one after the other within it, to its end. */
#include <stdint.h>
#include <stdlib.h>

#include "seccomp/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct filter_set set;
	struct error err = {0};

	if (filter_set_parse(data, len, &set, &err) < 0) {
		if (err.msg[0] == '\0') {
			abort();
		}
		return 0;
	}
	const struct sock_filter *next = (const void *)(data + sizeof(struct filter_header));

	for (int i = 0; i < FILTER_THREADS; i++) {
		if (i >= FILTER_FORK && set.programs[i].len == 0) {
			continue;
		}
		if (set.programs[i].filter != next || set.programs[i].len == 0) {
			abort();
		}
		next += set.programs[i].len;
	}
	if ((const uint8_t *)next != data + len) {
		abort();
	}
	return 0;
}
