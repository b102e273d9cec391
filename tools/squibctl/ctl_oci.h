/* SPDX-License-Identifier: Apache-2.0 */
/* OCI image layouts: [oci-image-spec 1.0, image-layout, manifest, config]. */
#ifndef TOOLS_CTL_OCI_H
#define TOOLS_CTL_OCI_H

#include <jansson.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	OCI_DIGEST_LEN = 72 /* "sha256:", 64 hexadecimal digits, NUL */
};

struct oci_image {
	char digest[OCI_DIGEST_LEN]; /* of its manifest */
	char *tag;		     /* heap: by which tools find it */
	json_t *config;		     /* what it says of a container: Cmd, Env and so on */
};

/*
 * Finds an image in the layout at `dir`: the one of that tag, or with NULL the only one. What is
 * read is compared with its digest. The caller ends with oci_close, also after a failure.
 */
MUST_CHECK int oci_open(const char *dir, const char *tag, struct oci_image *image,
			struct error *err);
void oci_close(struct oci_image *image);

#endif
