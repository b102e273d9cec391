/* SPDX-License-Identifier: Apache-2.0 */
/* Frees what a machine keeps of an action. */
#include "tests/lib/action_drop.h"

#include <stdlib.h>

#include "api/res_drives.h"
#include "api/res_network_interfaces.h"
#include "api/res_vsock.h"

void action_drop(struct action *action)
{
	switch (action->kind) {
	case ACTION_PUT_BOOT_SOURCE:
		free(action->boot_source.kernel_image_path);
		free(action->boot_source.initrd_path);
		free(action->boot_source.boot_args);
		break;
	case ACTION_PUT_SERIAL:
		free(action->serial.serial_out_path);
		break;
	case ACTION_PUT_METRICS:
		free(action->metrics.metrics_path);
		free(action->metrics.properties);
		break;
	case ACTION_PUT_DRIVE:
		schema_free(&res_drives_schema, &action->drive);
		break;
	case ACTION_PUT_NET:
		schema_free(&res_network_interfaces_schema, &action->net);
		break;
	case ACTION_PUT_VSOCK:
		schema_free(&res_vsock_schema, &action->vsock);
		break;
	case ACTION_PUT_LOGGER:
	case ACTION_PATCH_DRIVE:
	case ACTION_PATCH_NET:
	case ACTION_PUT_PMEM:
	case ACTION_UNPLUG:
	case ACTION_PUT_ENTROPY:
	case ACTION_PUT_BALLOON:
	case ACTION_GET_BALLOON:
	case ACTION_PATCH_BALLOON:
	case ACTION_GET_BALLOON_STATS:
	case ACTION_PATCH_BALLOON_STATS:
	case ACTION_START_HINTING:
	case ACTION_GET_HINTING:
	case ACTION_STOP_HINTING:
	case ACTION_GET:
	case ACTION_PUT_MACHINE:
	case ACTION_START:
	case ACTION_PAUSE:
	case ACTION_RESUME:
	case ACTION_CTRL_ALT_DEL:
	case ACTION_FLUSH_METRICS:
	case ACTION_KINDS:
		break;
	}
}
