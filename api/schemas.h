/* SPDX-License-Identifier: Apache-2.0 */
/* All field tables of the API, for the test that compares them with api/squib.yaml. */
#ifndef API_SCHEMAS_H
#define API_SCHEMAS_H

#include "vmm/base/schema.h"

extern const struct schema *const api_schemas[]; /* ends with NULL */

#endif
