/* SPDX-License-Identifier: Apache-2.0 */
/* A device in a guest and on a host that are played: its transport, its time, its waiting. */
#include "tests/fuzz/bed.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/fuzz/bed_backend.h"
#include "vmm/base/fd.h"

static struct bed *present; /* NULL: time and waiting are the host's */

static uint64_t standing_ns(clockid_t id)
{
	(void)id;
	return present->now_ns;
}

static int set_timer(int fd, int flags, const struct itimerspec *when, struct itimerspec *old)
{
	return (int)syscall(SYS_timerfd_settime, fd, flags, when, old);
}

static uint64_t ns_of(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * NS_PER_S + (uint64_t)time->tv_nsec;
}

/* In place of libc's: notes when it is due, and sets the host's timer to never. */
int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old)
{
	static const struct itimerspec never;
	uint64_t first;

	if (present == NULL) {
		return set_timer(fd, flags, when, old);
	}
	require(fd >= 0 && fd < BED_TIMERS_MAX);
	first = ns_of(&when->it_value);
	present->due_ns[fd] = first == 0 ? 0 : present->now_ns + first;
	present->period_ns[fd] = ns_of(&when->it_interval);
	return set_timer(fd, 0, &never, NULL);
}

void bed_pass(struct bed *bed, uint64_t ns)
{
	static const struct itimerspec past = {.it_value = {.tv_nsec = 1}};

	bed->now_ns += ns;
	for (int fd = 0; fd < BED_TIMERS_MAX; fd++) {
		if (bed->due_ns[fd] != 0 && bed->due_ns[fd] <= bed->now_ns) {
			uint64_t period = bed->period_ns[fd];

			bed->due_ns[fd] = period == 0 ? 0 : bed->now_ns + period;
			/* One that was closed meanwhile is no timer any more. */
			(void)set_timer(fd, TFD_TIMER_ABSTIME, &past, NULL);
		}
	}
}

/* In place of libc's: a back-end has its turn first, and what it leaves undone does not come. */
int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec timeout = {.tv_sec = timeout_ms / 1000,
				   .tv_nsec = timeout_ms % 1000 * 1000000L};

	if (present != NULL && present->kind->is_remote) {
		bed_backend_serve(present);
		timeout = (struct timespec){0};
	}
	return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

static void plug(struct bed *bed)
{
	bed->kind->make(bed);
	if (bed->is_on_pci) {
		vdriver_plug_pci(&bed->driver, bed->dev, &bed->pci);
	} else {
		vdriver_plug(&bed->driver, bed->dev);
	}
}

static void unplug(struct bed *bed)
{
	virtio_free(bed->dev);
	vdriver_unplug_pci(&bed->driver);
}

void bed_remake(struct bed *bed)
{
	unplug(bed);
	plug(bed);
}

void bed_open(struct bed *bed, unsigned kind, uint8_t settings, bool is_on_pci)
{
	memset(bed, 0, sizeof(*bed));
	bed->kind = &bed_kinds[kind];
	bed->settings = settings;
	bed->is_on_pci = is_on_pci;
	bed->listener = bed->host = bed->call = bed->file.fd = bed->base.fd = -1;
	bed->now_ns = 1;
	present = bed;
	be_quiet();
	if (bed->kind->is_remote) {
		vdriver_init_shared(&bed->driver);
	} else {
		vdriver_init(&bed->driver);
	}
	bed->driver.clock.now_ns = standing_ns;
	if (bed->kind->open != NULL) {
		bed->kind->open(bed);
	}
	plug(bed);
}

void bed_close(struct bed *bed)
{
	unplug(bed);
	if (bed->kind->close != NULL) {
		bed->kind->close(bed);
	}
	vdriver_destroy(&bed->driver);
	fd_close(&bed->listener);
	fd_close(&bed->host);
	fd_close(&bed->call);
	present = NULL;
}
