/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELETE of a device of the PCI bus, for the resources that have one. Behind a hot-plug port the
 * guest is asked first, and may take its time, as may the host with what is in flight: `run`
 * presses the button, and the request waits while others are done; `finish` writes the file to its
 * disk, and `commit` takes the device out or tells that the guest has it as before.
 */
#ifndef VMM_RESOURCES_UNPLUG_H
#define VMM_RESOURCES_UNPLUG_H

#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/schema.h"
#include "vmm/resources/microvm.h"
#include "vmm/resources/request.h"

enum {
	UNPLUGS_MAX = 4 /* at once: less than the API has connections */
};

/* The body, which there need not be. */
extern const struct schema unplug_schema;

/*
 * The end of `run`, whose checks have passed. The descriptor `file`, if it is not -1, stays open
 * until `commit` and is written to its disk before. VMM thread.
 */
MUST_CHECK int unplug_begin(struct microvm *microvm, struct request *request,
			    struct virtio_dev *dev, int file, struct error *err);

/* The method's `finish`. */
MUST_CHECK int unplug_synchronise(struct request *request, struct error *err);

/* Fails while the device is being unplugged: what it has of the host stays as it is. VMM thread. */
MUST_CHECK int unplug_check_stays(const struct microvm *microvm, const struct virtio_dev *dev,
				  struct error *err);

/* In `commit`: the file is on its disk. Any thread. */
bool unplug_is_synchronised(const struct request *request);

/* In `commit`: the device is freed, unless the guest or the host has kept it. VMM thread. */
MUST_CHECK int unplug_end(struct microvm *microvm, const struct request *request,
			  struct virtio_dev *dev, struct error *err);

#endif
