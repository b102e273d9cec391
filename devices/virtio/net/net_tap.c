/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAP interfaces of the host: opening them, or taking over open ones; their offloads.
 *
 * Theory of operation. Every read and write of the TAP carries one frame behind a header of
 * NET_HEADER_LEN bytes, which is virtio-net's own [virtio-1.2 §5.1.6]. So frames go between the
 * TAP and guest memory as they are, and it is the kernel that checks what a guest writes there.
 *
 * Offloads go in two directions. What the guest may leave to the host (HOST_*) is decided per frame
 * by its header. What the host may leave to the guest (GUEST_*) is set by TUNSETOFFLOAD: without
 * it the kernel computes checksums and cuts large frames up before we see them.
 */
#include "devices/virtio/net/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kcmp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/virtio/net/net_internal.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

_Static_assert((int)NET_NAME_LEN == IFNAMSIZ, "a name fits");

#define OPEN_FAILED "Could not create the network device: Open tap device failed: "
#define SEE_DOCS "Check our documentation on setting up the network devices."

/*
 * [compat]: orchestrators match on the sentence, whose cause is in its middle. `advice` is what
 * squib knows besides, or "".
 */
static int fail_backend(struct error *err, const char *name, int sys, const char *advice)
{
	error_set(err, ERR_HOST,
		  OPEN_FAILED "Error while creating ifreq structure: %s (os error %d). Invalid "
			      "TUN/TAP Backend provided by %s. " SEE_DOCS "%s",
		  error_os_text(sys), sys, name, advice);
	err->sys = sys;
	return -1;
}

/* How a TAP is opened. */
struct opening {
	unsigned queues;
	bool is_running; /* under a filter, as that of a machine that runs */
};

/* What is wrong with an interface that TUNSETIFF refuses: EINVAL has several causes. */
static const char *advice_on(const char *name, struct opening how)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq ifr = {.ifr_data = (void *)&info};
	AUTO_FD fd = -1;

	if (how.is_running) {
		/* The filter knows no way to look. */
		return how.queues > 1 ? " It is no TAP with several queues (multi_queue)."
				      : " It is no TAP with one queue.";
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(ifr.ifr_name, name, strlen(name));
	if (fd < 0 || if_nametoindex(name) == 0) {
		return "";
	}
	if (ioctl(fd, SIOCETHTOOL, &ifr) < 0 || strcmp(info.driver, "tun") != 0) {
		return " The interface is there and is no TAP: make one under another name.";
	}
	if (strcmp(info.bus_info, "tap") != 0) {
		return " The interface is a TUN device, which carries no Ethernet frames: make it "
		       "with `mode tap`.";
	}
	return how.queues > 1
		       ? " The TAP has one queue: make it with multi_queue, or leave "
			 "`queue_pairs` out."
		       : " The TAP has several queues: make it without multi_queue, or give the "
			 "interface `queue_pairs`.";
}

static int set_header_len(int fd, struct error *err)
{
	int len = NET_HEADER_LEN;

	if (ioctl(fd, TUNSETVNETHDRSZ, &len) < 0) {
		return error_sys(err, "Could not create the network device: Setting vnet header "
				      "size failed: Error while setting size of the vnet header");
	}
	return 0;
}

/* The kernel refuses an interface that was made for one queue as one of several, and vice versa. */
static int open_queue(const char *name, struct opening how, struct net_tap *tap, struct error *err)
{
	bool is_multi = how.queues > 1;
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						 (is_multi ? IFF_MULTI_QUEUE : 0))};
	AUTO_FD fd = -1;

	memcpy(ifr.ifr_name, name, strlen(name));
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		return error_sys(err, OPEN_FAILED "Couldn't open /dev/net/tun");
	}
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		int sys = errno;

		return fail_backend(err, name, sys, sys == EINVAL ? advice_on(name, how) : "");
	}
	if (set_header_len(fd, err) < 0) {
		return -1;
	}
	memcpy(tap->name, ifr.ifr_name, sizeof(tap->name));
	tap->fd[tap->count++] = fd_take(&fd);
	return 0;
}

static int open_named(const char *name, struct opening how, struct net_tap *tap, struct error *err)
{
	if (strlen(name) >= IFNAMSIZ) {
		return error_set(err, ERR_BAD_REQUEST, OPEN_FAILED "Invalid interface name");
	}
	while (tap->count < how.queues) {
		if (open_queue(name, how, tap, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* Reads a number of *text, and sets *text behind it. */
static int parse_number(const char **text, int *number)
{
	const char *digit = *text;
	int64_t value = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++) {
		value = value * 10 + (*digit - '0');
		if (value > INT_MAX) {
			return -1;
		}
	}
	if (digit == *text) {
		return -1;
	}
	*text = digit;
	*number = (int)value;
	return 0;
}

/*
 * TUNGETIFF has one bit for two things, IFF_NO_PI and IFF_NOFILTER: where no filter is attached, it
 * is always set. So one that lets everything pass is attached for as long as we look.
 */
static int read_flags(int fd, struct ifreq *ifr)
{
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog filter = {0};
	bool is_ours = false;

	if (ioctl(fd, TUNGETFILTER, &filter) == 0 && filter.len == 0) {
		filter = (struct sock_fprog){.len = 1, .filter = &pass};
		is_ours = ioctl(fd, TUNATTACHFILTER, &filter) == 0;
	}
	int result = ioctl(fd, TUNGETIFF, ifr);

	if (is_ours) {
		(void)ioctl(fd, TUNDETACHFILTER, &filter);
		/* Fails, but makes TUNGETFILTER forget it: detaching does not. */
		(void)ioctl(fd, TUNATTACHFILTER, &(struct sock_fprog){0});
	}
	return result;
}

/* The kind of an interface is fixed when it is made: what is wrong with it can't be mended here. */
static int check_kind(int fd, const char *name, bool is_multi, struct ifreq *ifr, struct error *err)
{
	const struct {
		int mask;
		int flags;
		const char *wrong;
	} rules[] = {
		{IFF_TUN | IFF_TAP, IFF_TAP, "is not a TAP: squib carries Ethernet frames"},
		{is_multi ? 0 : IFF_MULTI_QUEUE, 0, "is one queue of several (IFF_MULTI_QUEUE)"},
		{is_multi ? IFF_MULTI_QUEUE : 0, is_multi ? IFF_MULTI_QUEUE : 0,
		 "has one queue alone: `queue_pairs` asks for IFF_MULTI_QUEUE"},
		{IFF_VNET_HDR, IFF_VNET_HDR, "was opened without IFF_VNET_HDR"},
		{IFF_NO_PI, IFF_NO_PI, "was opened without IFF_NO_PI"},
	};

	if (read_flags(fd, ifr) < 0) {
		return fail_backend(err, name, errno, " The descriptor is of no TAP.");
	}
	for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
		if ((ifr->ifr_flags & rules[i].mask) != rules[i].flags) {
			return error_set(err, ERR_BAD_REQUEST, OPEN_FAILED "%s (%.*s) %s. %s", name,
					 (int)sizeof(ifr->ifr_name), ifr->ifr_name, rules[i].wrong,
					 SEE_DOCS);
		}
	}
	return 0;
}

/* -1: a kernel without kcmp. */
static int is_same_file(int fd, int other)
{
	long order = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, other);

	return order < 0 ? -1 : order == 0;
}

/* The descriptors of a list are queues of one TAP, each another one: adds the next. */
static int add_queue(const char *name, const struct ifreq *ifr, int fd, struct net_tap *tap,
		     struct error *err)
{
	if (tap->count > 0 && strcmp(ifr->ifr_name, tap->name) != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 OPEN_FAILED "%s names queues of several TAPs", name);
	}
	for (unsigned i = 0; i < tap->count; i++) {
		if (is_same_file(tap->fd[i], fd) > 0) {
			return error_set(err, ERR_BAD_REQUEST,
					 OPEN_FAILED "%s names one queue twice", name);
		}
	}
	memcpy(tap->name, ifr->ifr_name, sizeof(tap->name));
	tap->fd[tap->count++] = fd;
	return 0;
}

/*
 * The device gets a duplicate: the number that the client knows stays valid if this configuration
 * is refused later, or replaced by one that names it again.
 */
static int take_queue(const char *name, int number, bool is_multi, struct net_tap *tap,
		      struct error *err)
{
	AUTO_FD fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
	struct ifreq ifr = {0};

	if (fd < 0) {
		return fail_backend(err, name, errno, "");
	}
	if (check_kind(fd, name, is_multi, &ifr, err) < 0 || set_header_len(fd, err) < 0) {
		return -1;
	}
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(number, F_SETFD, FD_CLOEXEC) < 0) {
		return error_sys(err, OPEN_FAILED "%s cannot be prepared", name);
	}
	if (add_queue(name, &ifr, fd, tap, err) < 0) {
		return -1;
	}
	(void)fd_take(&fd);
	return 0;
}

/* "N,M,..." into numbers of descriptors; how many, or -1 if it is anything else. */
static int parse_list(const char *text, int numbers[NET_PAIRS_MAX])
{
	int count = 0;

	for (;; text++) {
		if (count == NET_PAIRS_MAX || parse_number(&text, &numbers[count]) < 0) {
			return -1;
		}
		count++;
		if (*text != ',') {
			return *text == '\0' ? count : -1;
		}
	}
}

static int take_over(const char *name, unsigned queues, struct net_tap *tap, struct error *err)
{
	int numbers[NET_PAIRS_MAX];
	int count = parse_list(name + strlen("fd:"), numbers);

	if (count < 0) {
		return error_set(err, ERR_BAD_REQUEST, OPEN_FAILED "%s names no descriptor", name);
	}
	if ((unsigned)count != queues) {
		return error_set(err, ERR_BAD_REQUEST,
				 OPEN_FAILED "%s has %d descriptors, and the interface %u queue "
					     "pairs: give one for each",
				 name, count, queues);
	}
	while (tap->count < queues) {
		if (take_queue(name, numbers[tap->count], queues > 1, tap, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* No interface can have such a name: the kernel refuses colons. */
static bool is_descriptor(const char *name)
{
	return strncmp(name, "fd:", strlen("fd:")) == 0;
}

static int open_tap(const char *name, struct opening how, struct net_tap *tap, struct error *err)
{
	*tap = (struct net_tap){0};
	int result = is_descriptor(name) ? take_over(name, how.queues, tap, err)
					 : open_named(name, how, tap, err);

	if (result < 0) {
		net_tap_close(tap);
	}
	return result;
}

int net_tap_open(const char *name, unsigned queues, struct net_tap *tap, struct error *err)
{
	return open_tap(name, (struct opening){.queues = queues}, tap, err);
}

int net_tap_open_running(const char *name, unsigned queues, struct net_tap *tap, struct error *err)
{
	if (is_descriptor(name)) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 OPEN_FAILED "%s is a descriptor, which a machine that runs does "
					     "not take any more: give the TAP's name",
				 name);
	}
	return open_tap(name, (struct opening){.queues = queues, .is_running = true}, tap, err);
}

void net_tap_close(struct net_tap *tap)
{
	for (unsigned i = 0; i < tap->count; i++) {
		fd_close(&tap->fd[i]);
	}
	*tap = (struct net_tap){0};
}

bool net_tap_is_same(const struct net_tap *tap, const struct net_tap *other)
{
	bool is_one_each = tap->count == 1 && other->count == 1;
	/* On a kernel without kcmp, too: but names are the same in other network namespaces. */
	int order = is_one_each ? is_same_file(tap->fd[0], other->fd[0]) : -1;

	if (order >= 0) {
		return order > 0;
	}
	return tap->count > 0 && strcmp(tap->name, other->name) == 0;
}

static int set_offloads(int fd, uint32_t offloads, struct error *err)
{
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0) {
		return error_sys(err, "Error while setting the offload flags");
	}
	return 0;
}

/* Each kind is tried on its own, as kernels gained (and once lost) them one by one. */
static uint32_t probe_offloads(int fd)
{
	static const uint32_t kinds[] = {NET_OFFLOAD_TSO4, NET_OFFLOAD_TSO6, NET_OFFLOAD_UFO,
					 NET_OFFLOAD_USO};
	uint32_t known = NET_OFFLOAD_CSUM;

	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)NET_OFFLOAD_CSUM) < 0) {
		return 0;
	}
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		unsigned long wanted = NET_OFFLOAD_CSUM | kinds[i];

		if (ioctl(fd, TUNSETOFFLOAD, wanted) == 0) {
			known |= kinds[i];
		}
	}
	(void)ioctl(fd, TUNSETOFFLOAD, 0UL);
	return known;
}

const struct net_tap_ops net_tap_host = {
	.probe_offloads = probe_offloads,
	.set_offloads = set_offloads,
};

/* --- Frames --- */

static int send_frame(struct net_pair *pair, const struct virtq_chain *chain)
{
	struct net *net = pair->net;
	const struct virtq_span span = {.side = VIRTQ_READABLE, .len = chain->read_len};
	struct virtq_iov frame = {.iov = net->tx_iov, .cap = ARRAY_COUNT(net->tx_iov)};

	if (virtq_chain_iov(net->dev.mem, chain, span, &frame) < 0) {
		return -EFAULT;
	}
	return writev(pair->tap_source.fd, frame.iov, (int)frame.count) < 0 ? -errno : 0;
}

static ssize_t receive_frame(struct net_pair *pair, const struct iovec *buffers, size_t count)
{
	ssize_t got = readv(pair->tap_source.fd, buffers, (int)count);

	if (got < 0) {
		return -errno;
	}
	return got > 0 ? got : -EIO;
}

static const char *explain(int sys)
{
	switch (sys) {
	case EBADFD:
		return "; its TAP was deleted, so it is dead until the microVM is started anew";
	case EIO:
		return "; its frames are dropped until the TAP is set up";
	default:
		return "";
	}
}

const struct net_port_ops net_tap_port_ops = {
	.name = "tap",
	.send = send_frame,
	.receive = receive_frame,
	.explain = explain,
};
