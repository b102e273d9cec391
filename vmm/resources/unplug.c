/* SPDX-License-Identifier: Apache-2.0 */
/* Takes devices out of the PCI bus, with the guest's consent where it can be asked. */
#include "vmm/resources/unplug.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "vmm/base/log.h"
#include "vmm/resources/resource.h"

enum {
	/* Linux waits 5 s for a second thought, removes the driver, and turns the power off. */
	PATIENCE_S = 30,
	MS_PER_S = 1000,
};

struct body {
	bool force; /* the guest is not asked */
};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct body, force, SCHEMA_DEFAULTED),
};

const struct schema unplug_schema = SCHEMA("UnplugParams", struct body, fields);

static bool is_forced(const struct request *request)
{
	return ((const struct body *)request->body)->force;
}

int unplug_begin(struct microvm *microvm, struct request *request, const struct virtio_dev *dev,
		 struct error *err)
{
	struct hotplug_port *port = devmgr_port(&microvm->controller.machine.devmgr, dev);

	if (port == NULL || is_forced(request)) {
		return 0;
	}
	if (microvm->controller.state == VM_PAUSED && hotplug_port_is_in_use(port)) {
		return error_set(err, ERR_BAD_STATE,
				 "The guest is paused and can't give %s back: resume it, or unplug "
				 "with `\"force\": true`",
				 dev->id);
	}
	if (!hotplug_port_ask_back(port)) {
		return 0;
	}
	request->stored = json_integer(port->released);
	return request->stored != NULL
		       ? 0
		       : error_set(err, ERR_HOST, "Out of memory for an unplugged device");
}

int unplug_wait(struct request *request, struct error *err)
{
	struct pollfd released = {.events = POLLIN};

	(void)err;
	if (request->stored != NULL) {
		released.fd = (int)json_integer_value(request->stored);
		/* What has come of it, the VMM thread sees. */
		(void)poll(&released, 1, PATIENCE_S * MS_PER_S);
	}
	return 0;
}

int unplug_end(struct microvm *microvm, const struct request *request, struct virtio_dev *dev,
	       struct error *err)
{
	struct devmgr *devmgr = &microvm->controller.machine.devmgr;
	struct hotplug_port *port = devmgr_port(devmgr, dev);

	if (port != NULL && !is_forced(request) && !hotplug_port_take_back(port)) {
		return error_set(err, ERR_BAD_STATE,
				 "The guest has not given %s back within %d s, and has it as "
				 "before: try again, or unplug with `\"force\": true`",
				 dev->id, PATIENCE_S);
	}
	if (port != NULL) {
		log_info("The device %s is unplugged: %s", dev->id,
			 request->stored != NULL ? "the guest has given it back"
						 : "the guest was not asked");
	}
	return devmgr_unplug(devmgr, dev, err) < 0 ? error_wrap(err, "PCI manager error") : 0;
}

void unplug_wake(struct microvm *microvm)
{
	struct devmgr *devmgr = &microvm->controller.machine.devmgr;

	for (unsigned i = 0; i < devmgr->port_count; i++) {
		(void)!eventfd_write(devmgr->ports[i].released, 1);
	}
}
