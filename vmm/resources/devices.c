/* SPDX-License-Identifier: Apache-2.0 */
/* /devices: the virtio devices of the machine, where they are, and whether the guest uses them. */
#include <stdio.h>

#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

/* As Linux names a PCI function; null on MMIO. */
static json_t *show_address(const struct devmgr *devmgr, size_t index)
{
	char text[32];
	struct pci_address at;

	if (!devmgr->has_pci) {
		return json_null();
	}
	at = pci_host_address((unsigned)index + 1);
	(void)!snprintf(text, sizeof(text), "0000:%02x:%02x.0", at.bus, at.slot);
	return json_string(text);
}

static json_t *show_device(const struct devmgr *devmgr, size_t index)
{
	struct virtio_dev *dev = devmgr->slots[index]->dev;

	virtio_lock(dev);
	bool is_in_use = virtio_works(dev);

	virtio_unlock(dev);
	return json_pack("{s:s, s:s, s:o, s:b}", "id", dev->id, "type", dev->class->name, "address",
			 show_address(devmgr, index), "is_in_use", is_in_use);
}

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct devmgr *devmgr = &microvm->controller.machine.devmgr;
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		if (devmgr->slots[i] != NULL &&
		    json_array_append_new(list, show_device(devmgr, i)) < 0) {
			json_decref(list);
			return request_reply(request, NULL, err);
		}
	}
	return request_reply(request, json_pack("{s:o}", "devices", list), err);
}

const struct resource devices_resource = {
	.path = {"devices"},
	.methods[HTTP_GET] = {.states = ALWAYS, .run = get},
};
