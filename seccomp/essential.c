/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a user's filters before any of them is installed.
 *
 * Theory of operation. A call that a filter denies ends the process by SIGSYS, and the handler can
 * say so only by calls that the filter allows. So a filter that lacks one of these would end squib
 * at its first event, perhaps without a word. Each filter is asked, by an interpreter, about the
 * calls that its thread makes in any life: wait, read and write, log, lock, exit. What an interface
 * with `vhost` takes beyond those is asked about when a machine is to have one: a filter `debug`
 * may well do without.
 */
#include "seccomp/essential.h"

#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "seccomp/bpf.h"
#include "vmm/base/bytes.h"
#include "vmm/base/text.h"

/* Both threads that wait in an event loop; aarch64 has only the younger names. */
#ifdef SYS_epoll_wait
enum {
	WAIT_EVENTS = SYS_epoll_wait,
	WAIT_ONE = SYS_poll
};
#else
enum {
	WAIT_EVENTS = SYS_epoll_pwait,
	WAIT_ONE = SYS_ppoll
};
#endif

enum {
	IN_VMM = 1 << FILTER_VMM | 1 << FILTER_FORK | 1 << FILTER_DEBUG | 1 << FILTER_VHOST,
	IN_API = 1 << FILTER_API,
	IN_VCPU = 1 << FILTER_VCPU | 1 << FILTER_VHOST_VCPU,
	IN_ALL = IN_VMM | IN_API | IN_VCPU,
	NAMES_LEN = 256,
};

static const struct essential {
	unsigned threads;
	int number;
	uint64_t args[4];
	const char *name; /* of an ioctl; NULL: the call's */
} essentials[] = {
	{IN_VMM | IN_API, WAIT_EVENTS, {0}, NULL},
	{IN_VMM | IN_API, SYS_epoll_ctl, {0}, NULL},
	{IN_VMM, SYS_read, {0}, NULL},
	{IN_VMM | IN_API, SYS_close, {0}, NULL},
	{IN_API, SYS_accept4, {0, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK}, NULL},
	{IN_API, SYS_recvfrom, {0}, NULL},
	{IN_VCPU, SYS_ioctl, {0, KVM_RUN}, NULL},
	{IN_ALL, SYS_write, {0}, NULL},
	{IN_ALL, WAIT_ONE, {0, 1}, NULL},
	{IN_ALL, SYS_futex, {0, FUTEX_WAIT_PRIVATE}, NULL},
	{IN_ALL, SYS_futex, {0, FUTEX_WAKE_PRIVATE}, NULL},
	{IN_ALL, SYS_exit_group, {0}, NULL},
};

/* Of a machine with `vhost` (devices/virtio/net/net_kernel.c). */
static const struct essential vhost_essentials[] = {
	{IN_VMM, SYS_ioctl, {0, VHOST_SET_FEATURES}, "VHOST_SET_FEATURES"},
	{IN_VMM, SYS_ioctl, {0, VHOST_SET_VRING_NUM}, "VHOST_SET_VRING_NUM"},
	{IN_VMM, SYS_ioctl, {0, VHOST_SET_VRING_BASE}, "VHOST_SET_VRING_BASE"},
	{IN_VMM, SYS_ioctl, {0, VHOST_SET_VRING_ADDR}, "VHOST_SET_VRING_ADDR"},
	{IN_VMM, SYS_ioctl, {0, VHOST_SET_VRING_CALL}, "VHOST_SET_VRING_CALL"},
	{IN_VMM, SYS_ioctl, {0, VHOST_GET_VRING_BASE}, "VHOST_GET_VRING_BASE"},
	{IN_VMM | IN_VCPU, SYS_ioctl, {0, VHOST_NET_SET_BACKEND}, "VHOST_NET_SET_BACKEND"},
};

/* Whether the filter ends the process at this call. Other actions, such as an error, don't. */
static bool is_denied(const struct sock_fprog *program, const struct essential *essential)
{
	struct seccomp_data call = {.nr = essential->number, .arch = seccomp_audit_arch};
	uint32_t action = 0;

	for (size_t i = 0; i < ARRAY_COUNT(essential->args); i++) {
		call.args[i] = essential->args[i];
	}
	if (!bpf_run(program->filter, program->len, &call, &action)) {
		return false; /* not by our compiler: the kernel judges */
	}
	action &= SECCOMP_RET_ACTION_FULL;
	return action == SECCOMP_RET_TRAP || action == SECCOMP_RET_KILL_THREAD ||
	       action == SECCOMP_RET_KILL_PROCESS;
}

/* Adds a name to a list, unless it is its last one already. */
static void add_name(struct text *names, const char *name)
{
	size_t len = strlen(name);

	if (names->len < len || strcmp(names->buf + names->len - len, name) != 0) {
		text_add(names, "%s%s", names->len > 0 ? ", " : "", name);
	}
}

/* Adds what the filter denies of the table. */
static void add_denied(const struct filter_set *set, enum filter_thread thread,
		       const struct essential *table, size_t count, struct text *names)
{
	for (size_t i = 0; i < count; i++) {
		if (set->programs[thread].len > 0 && (table[i].threads & 1U << thread) != 0 &&
		    is_denied(&set->programs[thread], &table[i])) {
			add_name(names, table[i].name != NULL
						? table[i].name
						: filter_syscall_name(table[i].number));
		}
	}
}

int essential_check(const struct filter_set *set, struct error *err)
{
	for (int thread = 0; thread < FILTER_THREADS; thread++) {
		char buf[NAMES_LEN]; /* all of a table's fit */
		struct text names;

		text_init(&names, buf, sizeof(buf));
		add_denied(set, (enum filter_thread)thread, essentials, ARRAY_COUNT(essentials),
			   &names);
		if (names.len > 0) {
			return error_set(err, ERR_CORRUPT,
					 "the filter `%s` denies %s, without which squib can't "
					 "run: allow them in its policy",
					 filter_thread_names[thread], buf);
		}
	}
	return 0;
}

int essential_check_vhost(const struct filter_set *set, enum filter_thread thread,
			  struct error *err)
{
	char buf[NAMES_LEN];
	struct text names;

	text_init(&names, buf, sizeof(buf));
	add_denied(set, thread, vhost_essentials, ARRAY_COUNT(vhost_essentials), &names);
	return names.len == 0
		       ? 0
		       : error_set(
				 err, ERR_BAD_REQUEST,
				 "The filter `%s` of --seccomp-filter denies %s, without which no "
				 "interface can have `vhost`: allow them in its policy, or leave "
				 "`vhost` out",
				 filter_thread_names[thread], buf);
}
