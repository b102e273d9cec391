/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning and the end of a microVM. */
#include "vmm/resources/microvm.h"

#include "vmm/resources/fork.h"
#include "vmm/resources/resource.h"
#include "vmm/resources/snapshot_live.h"

static void clear(struct vm_config *config)
{
	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->clear != NULL) {
			resources[i]->clear(config);
		}
	}
}

void microvm_init(struct microvm *microvm)
{
	microvm->config = (struct vm_config){0};
	clear(&microvm->config);
}

void microvm_destroy(struct microvm *microvm)
{
	controller_destroy(&microvm->controller);
	gmem_pager_close(&microvm->pager);
	fork_images_drop(&microvm->images);
	snapshot_live_destroy(&microvm->live, microvm->controller.loop);
	clear(&microvm->config);
}
