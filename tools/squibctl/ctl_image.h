/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of root file systems: from a directory, a disk, an OCI layout, an archive or a registry to
 * a disk that a guest can mount. What is made is kept in ${XDG_CACHE_HOME:-~/.cache}/squib/images.
 */
#ifndef TOOLS_CTL_IMAGE_H
#define TOOLS_CTL_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

struct ctl_image {
	char *disk;	/* heap: the path of a file system */
	json_t *config; /* as in OCI: Entrypoint, Cmd, Env, User, WorkingDir; NULL: none */
};

enum image_kind {
	IMAGE_DIRECTORY,
	IMAGE_DISK,
	IMAGE_LAYOUT,  /* oci:PATH[:TAG] */
	IMAGE_ARCHIVE, /* docker-archive:FILE */
	IMAGE_REGISTRY /* docker://REFERENCE, or what is nothing else */
};

/* Whether a file or block device has a file system that a guest can mount, by its first bytes. */
MUST_CHECK int image_check_disk(const char *path, struct error *err);

/* What a name means on this machine, by its form and what is there. */
enum image_kind image_kind(const char *name);

/*
 * Finds or makes the disk. With `pulls` a registry is asked although the cache has the image. The
 * caller ends with ctl_image_close, also after a failure.
 */
MUST_CHECK int ctl_image_get(const char *name, bool pulls, struct ctl_image *image,
			     struct error *err);
void ctl_image_close(struct ctl_image *image);

/* In an image's directory: the name by which it was last asked for; its time is that of the use. */
#define CTL_IMAGE_USED "used"

/* Keeps others from making images, as long as the descriptor is open. It waits for them. */
MUST_CHECK int ctl_image_lock(int *lock, struct error *err);

/* The archive of the initrd, on the heap, with a command for the guest's first process (NULL:
 * none). */
MUST_CHECK int ctl_image_archive(const void *request, size_t request_len, uint8_t **archive,
				 size_t *len, struct error *err);

/* The initrd with the guest's first process, made if it is not there; the path is on the heap. */
MUST_CHECK int ctl_image_initrd(char **path, struct error *err);

#endif
