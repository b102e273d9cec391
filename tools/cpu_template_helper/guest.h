/* SPDX-License-Identifier: Apache-2.0 */
/* A microVM that is made only to look at its first vCPU. */
#ifndef TOOLS_CPU_TEMPLATE_HELPER_GUEST_H
#define TOOLS_CPU_TEMPLATE_HELPER_GUEST_H

#include "tools/cpu_template_helper/cells.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"

/*
 * Makes the machine of a configuration file (NULL: the default one) under a template's file (NULL:
 * the configuration's template, if any) with squib's own code. *seen is what its vCPU 0 shows a
 * guest, *asked what the template names (NULL: not wanted). The caller frees both, which are empty
 * at first. One at a time.
 */
MUST_CHECK int guest_dump(const char *config_path, const char *template_path, struct cells *seen,
			  struct cells *asked, struct error *err);

#endif
