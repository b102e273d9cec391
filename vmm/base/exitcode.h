/* SPDX-License-Identifier: Apache-2.0 */
/* The exit statuses of squib. [compat] Supervisors of Firecracker tell failures apart by them. */
#ifndef VMM_BASE_EXITCODE_H
#define VMM_BASE_EXITCODE_H

enum exit_code {
	EXIT_CODE_OK = 0,	/* the guest shut down or reset itself */
	EXIT_CODE_GENERIC = 1,	/* bad configuration, failed start, stuck vCPU */
	EXIT_CODE_INTERNAL = 2, /* a case that squib did not foresee */
	/*
	 * Where Firecracker panics, which aborts it: an invalid --id, a number that is none, a
	 * --config-file that can't be read, a --metadata that is no JSON. squib exits in an orderly
	 * way with the status that a shell shows for SIGABRT.
	 */
	EXIT_CODE_PANIC = 134,
	/* Plus its number: a signal that ends a process, but not the first of a PID namespace. */
	EXIT_CODE_SIGNAL = 128,
	EXIT_CODE_BAD_SYSCALL = 148, /* SIGSYS: a system call outside the seccomp filter */
	EXIT_CODE_SIGBUS = 149,
	EXIT_CODE_SIGSEGV = 150,
	EXIT_CODE_SIGXFSZ = 151,
	EXIT_CODE_BAD_CONFIGURATION = 152, /* an unusable --level */
	EXIT_CODE_ARGUMENTS = 153,	   /* a command line that can't be understood */
	EXIT_CODE_SIGXCPU = 154,
	EXIT_CODE_SIGHUP = 156,
	EXIT_CODE_SIGILL = 157,
};

#endif
