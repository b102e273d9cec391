/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine has in place of what is in its snapshot, or in its parent. */
#ifndef TOOLS_CTL_OVERRIDES_H
#define TOOLS_CTL_OVERRIDES_H

#include <jansson.h>

#include "tools/squibctl/ctl_args.h"

/* `pattern` with each % replaced by the number (0: as it is), on the heap; NULL: no memory. */
char *ctl_expand(const char *pattern, unsigned long number);

/* The same as JSON; NULL where it is no UTF-8. */
json_t *ctl_expanded(const char *pattern, unsigned long number);

/* A list of {id_key: ID, key: VALUE} of words "ID=VALUE", expanded; NULL where one is no UTF-8. */
json_t *ctl_overrides(const struct ctl_words *words, const char *id_key, const char *key,
		      unsigned long number);

#endif
