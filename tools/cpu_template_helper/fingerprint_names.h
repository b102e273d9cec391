/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a fingerprint, by name. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_FINGERPRINT_NAMES_H
#define TOOLS_CPU_TEMPLATE_HELPER_FINGERPRINT_NAMES_H

/* In the order of the file [compat]. */
enum fingerprint_field_id {
	FINGERPRINT_SQUIB, /* "firecracker_version" */
	FINGERPRINT_KERNEL,
	FINGERPRINT_MICROCODE,
	FINGERPRINT_BIOS,
	FINGERPRINT_BIOS_REVISION,
	FINGERPRINT_TEXTS, /* so many are texts */
	FINGERPRINT_GUEST = FINGERPRINT_TEXTS,
	FINGERPRINT_FIELDS
};

extern const char *const fingerprint_names[FINGERPRINT_FIELDS];

/* FINGERPRINT_FIELDS: there is none of that name. */
enum fingerprint_field_id fingerprint_field(const char *name);

#endif
