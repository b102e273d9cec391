/* SPDX-License-Identifier: Apache-2.0 */
/* A driver in process, and a back-end of vhost-user devices that misbehaves: for units of these. */
#ifndef TESTS_UNIT_VHOST_BED_H
#define TESTS_UNIT_VHOST_BED_H

#include "devices/virtio/vhost/vhost_user.h"
#include "tests/lib/vdriver.h"
#include "tests/lib/vhost_peer.h"
#include "vmm/base/error.h"

/* Of the test under way; the suite's own code makes the device. */
extern struct vdriver vhost_driver;
extern struct vhost_peer vhost_peer;
extern struct vhost_user *vhost_dev; /* NULL: none */
extern struct error vhost_err;

void vhost_bed_init(void);    /* memory that others can map, a peer that does not run yet */
void vhost_bed_destroy(void); /* and the device */

void vhost_bed_wait(enum vhost_state state); /* until the device is in it */
void vhost_bed_wait_served(unsigned count);  /* until so many chains in all are answered */
unsigned vhost_bed_fds(void);		     /* that are open */
void vhost_bed_expect_fds(unsigned count);   /* in the end: the peer closes its ends as well */

#endif
