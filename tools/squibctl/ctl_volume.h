/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of the host that a machine has: shared by a virtiofsd for each, which the machine's
 * keeper starts, or copied into the machine before its command runs. The record's "volumes" has an
 * object for each: tag, host, guest, read_only, shared.
 */
#ifndef TOOLS_CTL_VOLUME_H
#define TOOLS_CTL_VOLUME_H

#include <jansson.h>

#include "tools/guest_init/run_request.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_run_args.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

enum {
	VOLUMES_MAX = 8
};

/* The path of the virtiofsd that shares them; NULL: there is none. */
const char *ctl_volumes_program(void);

/* Reads HOST:GUEST[:ro] of each; a new array, or NULL with an error. */
json_t *ctl_volumes_read(const struct ctl_words *words, struct error *err);

/* Whether one of such an array is served by a virtiofsd: then the machine has but one life. */
bool ctl_volumes_are_shared(const json_t *volumes);

/* For squib's configuration file: "filesystems", a new array. */
json_t *ctl_volumes_config(const struct machine *machine);

/* What the guest mounts, into a request. The strings are the record's. */
void ctl_volumes_request(const struct machine *machine, struct run_request *request);

/*
 * Starts a virtiofsd for each volume that is shared; its socket is there then. They end with the
 * machine, whose connection to them ends then. Stores their pids, 0 behind the last one.
 */
MUST_CHECK int ctl_volumes_share(const struct machine *machine, pid_t pids[VOLUMES_MAX + 1],
				 struct error *err);

/* Whether one of them has ended by a fault, with the error that says which. */
bool ctl_volumes_have_failed(const struct machine *machine, const pid_t pids[VOLUMES_MAX + 1],
			     struct error *err);

/* Copies the others into the machine, which runs. */
MUST_CHECK int ctl_volumes_copy(const struct machine *machine, struct error *err);

#endif
