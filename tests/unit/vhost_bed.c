/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vhost_bed.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <unistd.h>

struct vdriver vhost_driver;
struct vhost_peer vhost_peer;
struct vhost_user *vhost_dev;
struct error vhost_err;

void vhost_bed_init(void)
{
	vdriver_init_shared(&vhost_driver);
	vhost_peer_init(&vhost_peer);
	error_clear(&vhost_err);
}

void vhost_bed_destroy(void)
{
	if (vhost_dev != NULL) {
		virtio_free(&vhost_dev->dev);
		vhost_dev = NULL;
	}
	if (vhost_peer.thread != 0) {
		vhost_peer_stop(&vhost_peer);
	}
	vdriver_destroy(&vhost_driver);
}

static bool is_state(void *arg)
{
	return vhost_dev->state == *(const enum vhost_state *)arg;
}

void vhost_bed_wait(enum vhost_state state)
{
	vdriver_wait(&vhost_driver, is_state, &state);
}

static bool has_served(void *arg)
{
	return vhost_peer.served >= *(const unsigned *)arg;
}

void vhost_bed_wait_served(unsigned count)
{
	vdriver_wait(&vhost_driver, has_served, &count);
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count;
}

/* The peer opens and closes its ends in its own time: the number that stays. */
unsigned vhost_bed_fds(void)
{
	unsigned before;
	unsigned now = count_fds();

	do {
		before = now;
		usleep(20000);
		now = count_fds();
	} while (now != before);
	return now;
}

void vhost_bed_expect_fds(unsigned count)
{
	for (unsigned i = 0; i < 5000 && count_fds() != count; i++) {
		usleep(1000);
	}
	cr_expect_eq(vhost_bed_fds(), count, "a descriptor leaks");
}
