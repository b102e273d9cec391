/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all resources, and what they do alike. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "vmm/resources/resource.h"

#define ADDRESS(name) &name##_resource,

const struct resource *const resources[] = {RESOURCE_ROWS(ADDRESS) NULL};

const char resource_not_found[] = "Failed perform action on device: Device not found";
const char resource_id_in_use[] = "Device ID in use";
const char resource_device_not_found[] = "Device not found";

bool resource_is_here(const struct resource *resource)
{
	return resource->arch == NULL || strcmp(resource->arch, arch_name) == 0;
}

size_t resource_metric_groups(const struct metric_group *groups[], size_t max)
{
	size_t count = 0;

	for (size_t i = 0; resources[i] != NULL; i++) {
		if (resources[i]->metrics != NULL && count < max) {
			groups[count++] = resources[i]->metrics;
		}
		if (resources[i]->remote_metrics != NULL && count < max) {
			groups[count++] = resources[i]->remote_metrics;
		}
	}
	return count;
}

int resource_check_plug(const struct microvm *microvm, struct request *request, bool is_right,
			const char *wrong, struct error *err)
{
	bool has_pci = microvm->controller.machine.devmgr.has_pci;

	if (has_pci && is_right) {
		return 0;
	}
	request->prefix = "";
	return error_set(err, ERR_BAD_STATE, "%s", has_pci ? wrong : "PCI is not enabled");
}

int resource_plug(struct microvm *microvm, struct request *request, struct virtio_dev *dev,
		  const char *id, struct error *err)
{
	if (devmgr_plug(&microvm->controller.machine.devmgr, dev, id, err) == 0) {
		return 0;
	}
	request->prefix = "";
	return error_wrap(err, "PCI manager error");
}

int resource_check_id(struct request *request, struct error *err)
{
	const char *id = *(const char *const *)request->body;

	if (request->id != NULL && strcmp(request->id, id) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The id from the path does not match the id from the body!");
	}
	return 0;
}

int resource_list_grow(void **list, size_t count, size_t size, struct error *err)
{
	if (count == CONFIG_DEVICES_MAX) {
		return error_set(err, ERR_TOO_LARGE, "There are %d such devices already",
				 CONFIG_DEVICES_MAX);
	}

	void *longer = reallocarray(*list, count + 1, size);

	if (longer == NULL) {
		return error_sys(err, "Cannot allocate a list of devices");
	}
	*list = longer;
	return 0;
}

json_t *resource_show(bool is_there, const struct schema *schema, const void *member)
{
	return is_there ? schema_encode(schema, member, SCHEMA_ALL) : json_null();
}
