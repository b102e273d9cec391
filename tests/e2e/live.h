/* SPDX-License-Identifier: Apache-2.0 */
/* A squib whose API and console the test uses, where guests as data do not reach. */
#ifndef TESTS_E2E_LIVE_H
#define TESTS_E2E_LIVE_H

#include <stdbool.h>

#include "tests/lib/testbed.h"

enum {
	LIVE_PATIENCE_MS = 30000, /* on an emulated machine */
	LIVE_BOOT_MS = 120000,
};

/* Everything returns false after a failure, with the first one's words in `failure`. */
struct live {
	struct squib squib;
	int api;
	int typing; /* the console's input */
	char failure[512];
	char answer[4096]; /* the last answer's body */
};

struct live_test {
	const char *name;
	enum kvm_kind needs;
	bool (*run)(struct live *live);
};

bool huge_pages_test(struct live *live);
bool metrics_minute_test(struct live *live);
bool signal_storm_test(struct live *live);

bool live_init(struct live *live);
void live_destroy(struct live *live);

__attribute__((format(printf, 2, 3))) bool live_fail(struct live *live, const char *fmt, ...);

/* With --api-sock api.sock and --log-path log. */
bool live_start(struct live *live);

/* A request; false unless its status is `status`. */
__attribute__((format(printf, 5, 6))) bool live_api(struct live *live, unsigned status,
						    const char *method, const char *path,
						    const char *fmt, ...);
bool live_instance_start(struct live *live, unsigned status);

/* Types `line`, and waits until the console has had `text`. */
bool live_console(struct live *live, const char *line, const char *text);

#endif
