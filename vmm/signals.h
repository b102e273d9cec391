/* SPDX-License-Identifier: Apache-2.0 */
/* What the process does about signals: last words, exit codes, and the terminal given back. */
#ifndef VMM_SIGNALS_H
#define VMM_SIGNALS_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/control/telemetry.h"

/*
 * Installs the handlers and blocks SIGUSR1 for signals_open_requests. Once per process, before
 * other threads start (they inherit the mask).
 */
MUST_CHECK int signals_setup(struct error *err);

/*
 * From now on handlers count signals there, and fatal ones write the last line of metrics. NULL
 * ends that, before *telemetry is destroyed.
 */
void signals_set_telemetry(struct telemetry *telemetry);

/* A signalfd on which SIGUSR1 (Ctrl-Alt-Del for the guest) arrives; the caller closes *fd. */
MUST_CHECK int signals_open_requests(int *fd, struct error *err);

#endif
