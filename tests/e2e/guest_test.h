/* SPDX-License-Identifier: Apache-2.0 */
/* End-to-end tests as data: a guest, what is done to it, and what must be seen. */
#ifndef TESTS_E2E_GUEST_TEST_H
#define TESTS_E2E_GUEST_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tests/lib/squib.h"

enum test_arch {
	ANY_ARCH,
	X86_64,
	AARCH64
};

enum kernel_kind {
	OWN_KERNEL,    /* x86_64: vmlinux with its PVH note; aarch64: Image */
	OWN_ELF64,     /* x86_64: the same vmlinux with its PVH note made unknown */
	OWN_BZIMAGE,   /* x86_64 */
	STOCK_KERNEL,  /* Debian's cloud kernel, as packaged */
	PAYLOAD,       /* one of tests/guests/payload/; `payload` names it */
	DAMAGED_OWN,   /* the own kernel, cut after `cut` bytes */
	DAMAGED_STOCK, /* the stock kernel, cut likewise */
	FOREIGN,       /* a file that is no kernel: squib itself */
	NO_KERNEL,     /* a path that does not exist */
};

enum step_kind {
	EXPECT, /* wait until the output, from where the last EXPECT matched, has `text` */
	SEND,	/* write `text` to standard input */
	FLOOD,	/* write `number` bytes to standard input as far as they are taken in 2 s */
	SIGNAL, /* send signal `number` */
	PAUSE,	/* wait `number` ms, the process must be alive after it */
	CHECK,	/* call `check`; it returns NULL or what is wrong */
};

struct step {
	enum step_kind kind;
	const char *text;
	long number;
	const char *(*check)(pid_t squib);
};

enum {
	STEPS_MAX = 8
};

struct guest_test {
	const char *name;
	enum kvm_kind needs;
	enum test_arch arch;
	enum kernel_kind kernel;
	const char *payload;
	long cut;
	unsigned vcpus;	  /* 0: 1 */
	unsigned mem_mib; /* 0: 128 */
	bool smt;
	const char *huge_pages; /* NULL: "None" */
	bool has_no_initrd;
	const char *boot_args; /* added to the console's */
	const char *run;       /* shell script for the guest's init */
	const char *end;       /* what init does then: "reboot" */
	const char *flags;     /* more flags for squib, separated by spaces */
	const char *more;      /* more members of its configuration */
	struct step steps[STEPS_MAX];
	const char *never;  /* must not be in the output */
	int exit_status;    /* or KILLED_BY + signal */
	unsigned timeout_s; /* 0: 60 */
};

extern const struct guest_test guest_tests[];
extern const size_t guest_test_count;

/* Tests that use a guest's API besides, where guests as data do not reach. */
struct live_test {
	const char *name;
	enum kvm_kind needs;
	bool (*run)(struct squib *squib);
	unsigned timeout_s;
};

/* The functions that lack something: why the next test can't run here; NULL: it can. */
const char *fork_copies_lacks(void);
bool fork_asked_test(struct squib *squib);
bool fork_copies_test(struct squib *squib);
bool fork_no_copies_test(struct squib *squib);
const char *fork_networks_lacks(void);
bool fork_networks_test(struct squib *squib);
bool fork_no_tap_test(struct squib *squib);
bool fork_drives_test(struct squib *squib);
const char *fork_landlock_lacks(void);
bool fork_landlock_test(struct squib *squib);
bool fork_failure_test(struct squib *squib);
bool fork_killed_test(struct squib *squib);
bool fork_parent_test(struct squib *squib);
bool fork_storm_test(struct squib *squib);
bool fork_endless_test(struct squib *squib);
bool fork_unwanted_test(struct squib *squib);
bool fork_test(struct squib *squib);
bool debug_linux_test(struct squib *squib);
bool debug_payload_test(struct squib *squib);
bool debug_end_test(struct squib *squib);
bool handed_on_test(struct squib *squib);
bool hotplug_pool_test(struct squib *squib);
bool hotplug_test(struct squib *squib);
bool hotplug_touch_test(struct squib *squib);
bool huge_hinting_test(struct squib *squib);
bool huge_pages_test(struct squib *squib);
bool huge_unasked_test(struct squib *squib);
/* What the host lacks for it; NULL: nothing. */
const char *hotplug_pool_lacks(void);
bool live_names_test(struct squib *squib);
bool live_snapshot_test(struct squib *squib);
bool metrics_minute_test(struct squib *squib);
bool plug_cycles_test(struct squib *squib);
bool plug_memory_test(struct squib *squib);
bool plug_patience_test(struct squib *squib);
bool plug_ports_test(struct squib *squib);
bool signal_storm_test(struct squib *squib);

#endif
