/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes devices out of the PCI bus, with the guest's consent where it can be asked.
 *
 * Theory of operation. A request waits, and holds up nobody, for the guest that is asked, or for
 * what is in flight of a device that takes nothing more. Then the thread that asks waits for the
 * device's file to be written. The VMM thread goes on meanwhile, and finds nothing left to wait for
 * when it takes the device out. A guest that is asked resets the device on a vCPU before it gives
 * it back. Until the end other requests find the device, and must leave its file alone.
 */
#include "vmm/resources/unplug.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio/core/virtio_leave.h"
#include "vmm/base/bytes.h"
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

/* What `run` leaves to the others, in request->stored; the last is set by `finish`. */
enum {
	IS_ASKED,	 /* the guest */
	FILE_FD,	 /* to be written to its disk; -1: none */
	IS_SYNCHRONISED, /* that was done */
};

static json_t *left(const struct request *request, size_t what)
{
	return json_array_get(request->stored, what);
}

static struct virtio_slot *find(const struct microvm *microvm, const struct virtio_dev *dev)
{
	struct virtio_slot *const *slot = microvm->controller.machine.devmgr.slots;

	while (*slot == NULL || (*slot)->dev != dev) {
		slot++;
	}
	return *slot;
}

/* How many requests to unplug a device have begun, and not ended. */
static unsigned count_begun(const struct microvm *microvm)
{
	const struct devmgr *devmgr = &microvm->controller.machine.devmgr;
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_COUNT(devmgr->slots); i++) {
		count += devmgr->slots[i] != NULL && devmgr->slots[i]->is_unplugged;
	}
	return count;
}

int unplug_check_stays(const struct microvm *microvm, const struct virtio_dev *dev,
		       struct error *err)
{
	return !find(microvm, dev)->is_unplugged
		       ? 0
		       : error_set(err, ERR_BAD_STATE,
				   "%s is being unplugged: wait for the answer to that request",
				   dev->id);
}

/* event -1: nothing is waited for. */
static int wait_for(struct request *request, bool is_asked, int event, int file, struct error *err)
{
	request->waits = event >= 0;
	request->event = event;
	request->patience_ms = PATIENCE_S * MS_PER_S;
	request->stored = json_pack("[bib]", is_asked, file, false);
	return request->stored != NULL
		       ? 0
		       : error_set(err, ERR_HOST, "Out of memory for an unplugged device");
}

static int begin(struct microvm *microvm, struct request *request, struct virtio_dev *dev, int file,
		 struct error *err)
{
	struct devmgr *devmgr = &microvm->controller.machine.devmgr;
	struct hotplug_port *port = is_forced(request) ? NULL : devmgr_port(devmgr, dev);
	int idle;

	if (port != NULL && microvm->controller.state == VM_PAUSED &&
	    hotplug_port_is_in_use(port)) {
		return error_set(err, ERR_BAD_STATE,
				 "The guest is paused and can't give %s back: resume it, or unplug "
				 "with `\"force\": true`",
				 dev->id);
	}
	if (port != NULL && hotplug_port_ask_back(port)) {
		return wait_for(request, true, port->released, file, err);
	}
	if (devmgr_leave(devmgr, dev, &idle, err) < 0) {
		return -1;
	}
	if (wait_for(request, false, idle, file, err) < 0) {
		devmgr_stay(devmgr, dev);
		return -1;
	}
	return 0;
}

int unplug_begin(struct microvm *microvm, struct request *request, struct virtio_dev *dev, int file,
		 struct error *err)
{
	if (unplug_check_stays(microvm, dev, err) < 0) {
		return -1;
	}
	if (count_begun(microvm) == UNPLUGS_MAX) {
		return error_set(err, ERR_BAD_STATE,
				 "%d devices are being unplugged, which is the most at once: wait "
				 "for an answer",
				 UNPLUGS_MAX);
	}
	if (begin(microvm, request, dev, file, err) < 0) {
		return -1;
	}
	find(microvm, dev)->is_unplugged = true;
	return 0;
}

int unplug_synchronise(struct request *request, struct error *err)
{
	int file = (int)json_integer_value(left(request, FILE_FD));

	(void)err;
	if (request->is_late || file < 0) {
		return 0;
	}
	if (fdatasync(file) == 0) {
		(void)json_array_set(request->stored, IS_SYNCHRONISED, json_true());
	} else {
		log_error("The device %s can't be synchronised: %s (os error %d)", request->id,
			  error_os_text(errno), errno);
	}
	return 0;
}

bool unplug_is_synchronised(const struct request *request)
{
	return json_is_true(left(request, IS_SYNCHRONISED));
}

static int take_out(struct devmgr *devmgr, struct virtio_dev *dev, struct error *err)
{
	if (virtio_is_busy(dev)) {
		return error_set(err, ERR_BAD_STATE,
				 "The host has not ended what is in flight of %s within %d s, and "
				 "the guest has it as before: try again",
				 dev->id, PATIENCE_S);
	}
	return devmgr_unplug(devmgr, dev, err) < 0 ? error_wrap(err, "PCI manager error") : 0;
}

int unplug_end(struct microvm *microvm, const struct request *request, struct virtio_dev *dev,
	       struct error *err)
{
	struct devmgr *devmgr = &microvm->controller.machine.devmgr;
	struct hotplug_port *port = devmgr_port(devmgr, dev);

	find(microvm, dev)->is_unplugged = false;
	if (port != NULL && !is_forced(request) && !hotplug_port_take_back(port)) {
		return error_set(err, ERR_BAD_STATE,
				 "The guest has not given %s back within %d s, and has it as "
				 "before: try again, or unplug with `\"force\": true`",
				 dev->id, PATIENCE_S);
	}
	bool is_asked = json_is_true(left(request, IS_ASKED));
	char id[sizeof(dev->id)];

	memcpy(id, dev->id, sizeof(id));
	if (take_out(devmgr, dev, err) < 0) {
		devmgr_stay(devmgr, dev);
		return -1;
	}
	if (port != NULL) {
		log_info("The device %s is unplugged: %s", id,
			 is_asked ? "the guest has given it back" : "the guest was not asked");
	}
	return 0;
}