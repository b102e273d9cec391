/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of files that are mostly holes: disks. */
#ifndef TOOLS_CTL_COPY_FILE_H
#define TOOLS_CTL_COPY_FILE_H

#include <signal.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Makes `to`, an empty file, like the file at `from`: by reference where the file system can do
 * that, else what is no hole. It fails when one of ctl_copy_signals waits, which the caller has
 * blocked.
 */
MUST_CHECK int ctl_copy_file(const char *from, int to, struct error *err);

/* Signals that would end this process. */
sigset_t ctl_copy_signals(void);

#endif
