/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Installs compiled filters.
 *
 * Theory of operation. Policies are compiled when squib is built (tools/seccompiler/main), so that
 * the monitor has neither a parser of policies nor a compiler in it, and a thread's filter costs
 * one system call. Only the process's own id is filled in when they are read. The compiled file is
 * part of the binary (embed.S); --seccomp-filter takes another in its place. A file is checked
 * before any of its programs is used; what the programs do is the kernel's to verify.
 */
#include "seccomp/filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp/essential.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* embed.S */
extern char seccomp_default_filters[];
extern char seccomp_default_filters_end[];
/* rules.mk makes them from the kernel's headers; names follow each other, "" for a gap */
extern const char seccomp_syscall_names[];
extern const uint32_t seccomp_syscall_names_len; /* bytes */

const char filter_magic[FILTER_MAGIC_LEN] = {'s', 'q', 'u', 'i', 'b', 'b', 'p', '5'};

const char *const filter_thread_names[FILTER_THREADS] = {
	[FILTER_VMM] = "vmm",
	[FILTER_API] = "api",
	[FILTER_VCPU] = "vcpu",
	[FILTER_FORK] = "fork",
	[FILTER_DEBUG] = "debug",
	[FILTER_VHOST] = "vhost",
	[FILTER_VHOST_VCPU] = "vhost_vcpu",
	[FILTER_NO_PCI] = "no_pci",
};

/* Notes where the id of the process goes. */
static int find_self(struct filter_set *set, const struct sock_fprog *program, struct error *err)
{
	for (unsigned short i = 0; i < program->len; i++) {
		struct sock_filter *at = &program->filter[i];

		if (at->code != (BPF_JMP | BPF_JEQ | BPF_K) || at->k != FILTER_SELF) {
			continue;
		}
		if (set->self_count == FILTER_SELF_MAX) {
			return error_set(err, ERR_CORRUPT,
					 "it has more than %d conditions on the own process",
					 FILTER_SELF_MAX);
		}
		set->self[set->self_count++] = at;
	}
	return 0;
}

int filter_set_parse(const void *bytes, size_t len, struct filter_set *set, struct error *err)
{
	const struct sock_filter *next =
		(const void *)((const char *)bytes + sizeof(struct filter_header));
	struct filter_header header;

	*set = (struct filter_set){0};
	if (len < sizeof(header)) {
		return error_set(err, ERR_CORRUPT, "it is shorter than its header");
	}
	memcpy(&header, bytes, sizeof(header));
	len -= sizeof(header);
	if (memcmp(header.magic, filter_magic, sizeof(header.magic)) != 0) {
		return error_set(err, ERR_CORRUPT,
				 "it does not begin as seccompiler's output does");
	}
	if (header.arch != seccomp_audit_arch) {
		return error_set(err, ERR_CORRUPT, "it is for another architecture (%#x)",
				 header.arch);
	}
	for (int i = 0; i < FILTER_THREADS; i++) {
		uint32_t count = header.counts[i];

		if (count == 0 && i >= FILTER_FORK) {
			continue;
		}
		if (count == 0 || count > FILTER_INSTRUCTIONS_MAX || count > len / sizeof(*next)) {
			return error_set(
				err, ERR_CORRUPT,
				"the filter `%s` has %u instructions; 1 to %d must be there",
				filter_thread_names[i], count, FILTER_INSTRUCTIONS_MAX);
		}
		/* The kernel's structure lacks a const. */
		set->programs[i] = (struct sock_fprog){.len = (unsigned short)count,
						       .filter = (struct sock_filter *)next};
		if (find_self(set, &set->programs[i], err) < 0) {
			return -1;
		}
		next += count;
		len -= count * sizeof(*next);
	}
	if (len != 0) {
		return error_set(err, ERR_CORRUPT, "%zu bytes follow after its last filter", len);
	}
	return 0;
}

void filter_set_name_self(struct filter_set *set)
{
	for (size_t i = 0; i < set->self_count; i++) {
		set->self[i]->k = (uint32_t)getpid();
	}
}

int filter_set_default(struct filter_set *set, struct error *err)
{
	if (filter_set_parse(seccomp_default_filters,
			     (uintptr_t)seccomp_default_filters_end -
				     (uintptr_t)seccomp_default_filters,
			     set, err) < 0) {
		return -1;
	}
	filter_set_name_self(set);
	return 0;
}

int filter_set_load(const char *path, struct filter_set *set, struct error *err)
{
	AUTO_FREE char *bytes = NULL;
	size_t len;

	*set = (struct filter_set){0};
	if (read_file(path, "The seccomp filter", FILTER_FILE_MAX, &bytes, &len, err) < 0) {
		return -1;
	}
	if (filter_set_parse(bytes, len, set, err) < 0 || essential_check(set, err) < 0) {
		*set = (struct filter_set){0};
		return error_wrap(err, "Filter deserialization failed: %s", path);
	}
	set->owned = bytes;
	bytes = NULL;
	filter_set_name_self(set);
	return 0;
}

void filter_set_free(struct filter_set *set)
{
	free(set->owned);
	*set = (struct filter_set){0};
}

int filter_install(const struct filter_set *set, enum filter_thread thread, struct error *err)
{
	if (set == NULL || set->programs[thread].filter == NULL) {
		return 0;
	}
	const struct sock_fprog *program = &set->programs[thread];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0) {
		return error_sys(err, "Cannot install the seccomp filter `%s`",
				 filter_thread_names[thread]);
	}
	return 0;
}

const char *filter_syscall_name(int number)
{
	const char *name = seccomp_syscall_names;
	const char *end = name + seccomp_syscall_names_len;

	for (int i = 0; i < number && name < end; i++) {
		name += strlen(name) + 1;
	}
	return number >= 0 && name < end && *name != '\0' ? name : "an unknown system call";
}
