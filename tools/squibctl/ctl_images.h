/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of images, for people: squibctl images and prune. */
#ifndef TOOLS_CTL_IMAGES_H
#define TOOLS_CTL_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/squibctl/ctl_args.h"

/* How many machines run from a disk. */
unsigned ctl_images_users(const char *disk);

/* Seconds of "30s", "15m", "12h", "7d". false: it is none of these. */
bool ctl_images_age(const char *text, uint64_t *seconds);

/* Run the commands. Return the exit status of the process. */
int ctl_images_run(const struct ctl_args *args);
int ctl_prune_run(const struct ctl_args *args);

/* Notes that what is saved in `dir`, an absolute path, needs the image of `disk`, a path. */
void ctl_images_pin(const char *disk, const char *dir);

#endif
