/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are saved, and go on in another process. */
#ifndef TESTS_DEVICES_SAVED_H
#define TESTS_DEVICES_SAVED_H

#include <stdbool.h>

#include "tests/lib/squib.h"

/* Pauses the machine and saves it to the files "state" and "memory"; `type` is Full or Diff. */
bool saved_save(struct squib *squib, const char *type);
bool saved_resume(struct squib *squib);

/* Loads these files. `more` are further fields of the request, each behind a comma. */
bool saved_load(struct squib *squib, const char *more);

#define SAVED_RESUMES ", \"resume_vm\": true"
#define SAVED_TRACKS ", \"track_dirty_pages\": true"

/* Saves the machine, ends its process, and loads it into another one, where it goes on. */
bool saved_renew(struct squib *squib, const char *type, bool is_tracked);

#endif
