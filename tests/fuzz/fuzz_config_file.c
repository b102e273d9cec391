/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the configuration file: JSON, the field tables and the checks of the configuration.
 */
#include <stdint.h>
#include <stdlib.h>

#include "api/config_file.h"
#include "tests/fuzz/no_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failure has a sentence, on one line, whatever bytes the input has. */
static void check_error(const struct error *err)
{
	if (err->kind == ERR_NONE || err->msg[0] == '\0') {
		abort();
	}
	for (const char *p = err->msg; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f) {
			abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct microvm microvm = {.controller.id = "fuzz"};
	struct error err = {0};

	microvm_init(&microvm);
	if (config_file_apply((const char *)data, len, run_without_host, &microvm, &err) < 0) {
		check_error(&err);
	} else if (microvm.config.machine.vcpu_count == 0) {
		abort();
	}
	microvm_destroy(&microvm);
	return 0;
}
