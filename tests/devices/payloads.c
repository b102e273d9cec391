/* SPDX-License-Identifier: Apache-2.0 */
/* Payload guests that mean no good, with every device (tests/guest/virtio_*.c). */
#include "tests/devices/machine.h"

const struct device_test payload_tests[] = {
	{NULL, NULL, 0},
};
