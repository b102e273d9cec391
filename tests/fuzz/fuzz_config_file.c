/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the configuration file: JSON, the field tables and the checks of the configuration. What
 * would open or create the files that an input names, wherever they are, is not done: log, metrics
 * and the devices that have one.
 */
#include <stdint.h>
#include <stdlib.h>

#include "api/config_file.h"
#include "tests/lib/action_drop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int execute(void *arg, struct action *action, struct error *err)
{
	if (action->kind == ACTION_PUT_MACHINE) {
		return vm_config_put_machine(arg, &action->machine, err);
	}
	if (action->kind == ACTION_PUT_BOOT_SOURCE) {
		return vm_config_put_boot_source(arg, &action->boot_source, err);
	}
	if (action->kind == ACTION_PUT_BALLOON) {
		return vm_config_put_balloon(arg, &action->balloon, err);
	}
	if (action->kind == ACTION_PUT_ENTROPY) {
		vm_config_put_entropy(arg, &action->entropy);
	}
	action_drop(action);
	return 0;
}

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
	struct vm_config config;
	struct error err = {0};

	vm_config_init(&config);
	if (config_file_parse((const char *)data, len, execute, &config, &err) < 0) {
		check_error(&err);
	} else if (config.boot_source.kernel_image_path == NULL || config.machine.vcpu_count == 0) {
		abort();
	}
	vm_config_destroy(&config);
	return 0;
}
