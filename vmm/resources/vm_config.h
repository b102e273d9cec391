/* SPDX-License-Identifier: Apache-2.0 */
/* All of a microVM's configuration as one JSON object, in the form of a configuration file. */
#ifndef VMM_RESOURCES_VM_CONFIG_H
#define VMM_RESOURCES_VM_CONFIG_H

#include <jansson.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/json.h"
#include "vmm/resources/microvm.h"
#include "vmm/resources/request.h"

/* What GET /vm/config answers; NULL if memory is short. VMM thread. */
MUST_CHECK json_t *vm_config_show(const struct vm_config *config);

/* The same as text, a heap block; NULL: see *err. */
MUST_CHECK char *vm_config_text(const struct vm_config *config, struct error *err);

/*
 * Has `execute` put what the object has for each key. After a failure some of the keys may have
 * been applied.
 */
MUST_CHECK int vm_config_apply(const struct json_value *root, request_fn execute, void *arg,
			       struct error *err);

/* The same for a snapshot's text: kernel and initrd are named and not opened. VMM thread. */
MUST_CHECK int vm_config_load(const char *text, size_t len, struct microvm *microvm,
			      struct error *err);

/* Changes a configuration, a JSON object, before it is loaded. */
struct vm_config_change {
	int (*fn)(json_t *config, const void *arg, struct error *err);
	const void *arg;
};

/* vm_config_load with a change. A text that is no object is ERR_CORRUPT. VMM thread. */
MUST_CHECK int vm_config_load_changed(const char *text, size_t len,
				      const struct vm_config_change *change,
				      struct microvm *microvm, struct error *err);

/* Undoes a load that failed: no device, no boot source, the default machine. VMM thread. */
void vm_config_unload(struct vm_config *config);

#endif
