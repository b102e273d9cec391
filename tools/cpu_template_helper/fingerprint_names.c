/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a fingerprint, by name. */
#include "tools/cpu_template_helper/fingerprint_names.h"

#include <string.h>

const char *const fingerprint_names[FINGERPRINT_FIELDS] = {
	"firecracker_version", "kernel_version", "microcode_version",
	"bios_version",	       "bios_revision",	 "guest_cpu_config",
};

enum fingerprint_field_id fingerprint_field(const char *name)
{
	unsigned i = 0;

	while (i < FINGERPRINT_FIELDS && strcmp(fingerprint_names[i], name) != 0) {
		i++;
	}
	return (enum fingerprint_field_id)i;
}
