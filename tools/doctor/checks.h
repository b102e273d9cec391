/* SPDX-License-Identifier: Apache-2.0 */
/* The checks behind the doctor's table. */
#ifndef TOOLS_DOCTOR_CHECKS_H
#define TOOLS_DOCTOR_CHECKS_H

#include "tools/doctor/doctor.h"
#include "vmm/base/attr.h"

enum {
	FINDING_TEXT_LEN = 640, /* an error's sentence fits */
};

enum verdict {
	DOCTOR_OK,
	DOCTOR_MISSING,
	DOCTOR_UNKNOWN, /* it can't be found out before something else is there */
};

struct finding;
typedef void check_fn(struct finding *finding);

struct check {
	const char *what;
	const char *feature; /* which needs it */
	bool is_essential;   /* every machine needs it */
	check_fn *look;
	const char *package; /* of a program, in Debian's words */
};

struct finding {
	const struct check *check;
	const struct doctor_plan *plan;
	enum verdict verdict;
	char value[FINDING_TEXT_LEN]; /* what is there, or is not */
	char cure[FINDING_TEXT_LEN];  /* what to do, mostly a command; "": nothing helps here */
};

/* Sets the verdict and the value, a format. */
PRINTF(3, 4)
void finding_set(struct finding *finding, enum verdict verdict, const char *fmt, ...);

/* Sets the cure. */
PRINTF(2, 3) void finding_cure(struct finding *finding, const char *fmt, ...);

/* /dev/kvm and what it can do. */
check_fn check_kvm_device;
check_fn check_kvm_interface;
check_fn check_kvm_guests;
check_fn check_kvm_messages;
check_fn check_kvm_dirty_log;
check_fn check_kvm_debug;

/* The rest of the kernel, programs and files. */
check_fn check_filters;
check_fn check_landlock;
check_fn check_tun;
check_fn check_vhost_net;
check_fn check_uring;
check_fn check_userfaultfd;
check_fn check_huge_pages;
check_fn check_cgroups;
check_fn check_squib;
check_fn check_kernel;
check_fn check_virtiofsd;
check_fn check_program; /* `what`, of `package` */

#endif
