/* SPDX-License-Identifier: Apache-2.0 */
/* Loads a kernel into guest memory while KVM makes the VM. */
#ifndef VMM_MACHINE_LOADER_H
#define VMM_MACHINE_LOADER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch/boot.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"

/* What a machine boots. The files are open; strings are for the kernel and for messages. */
struct boot_source {
	const char *kernel_path;
	int kernel_fd;
	uint64_t kernel_len;
	const char *initrd_path;
	int initrd_fd; /* -1: none */
	uint64_t initrd_len;
	const char *boot_args; /* NULL: the architecture's own */
};

/* All pointers are borrowed, until loader_finish or loader_cancel. */
struct loader {
	bool is_running;
	pthread_t thread;
	/* the thread's while it runs */
	const struct boot_source *source;
	struct gmem *mem;
	struct boot_info *boot; /* its members of kernel and initrd */
	struct error err;
	int result;
};

/*
 * Begins, with `source`, `mem` and `boot` set. Where no thread can be made, all is loaded when it
 * returns. VMM thread, which is not confined yet.
 */
void loader_start(struct loader *loader);

/* Waits until kernel and initrd are in guest memory. -1: they are not, with the reason. VMM thread.
 */
MUST_CHECK int loader_finish(struct loader *loader, struct error *err);

/* Waits for the thread, if there is one. A zeroed one is fine. VMM thread. */
void loader_cancel(struct loader *loader);

#endif
