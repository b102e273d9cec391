/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of one microVM: what the client asked for, validated, before anything is built.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"
#include "vmm/config_devices.h"

enum huge_pages {
	HUGE_PAGES_NONE,
	HUGE_PAGES_TRANSPARENT,
	HUGE_PAGES_2M
};

struct machine_config {
	uint8_t vcpu_count;
	uint64_t mem_size_mib;
	bool smt;
	bool track_dirty_pages;
	enum huge_pages huge_pages;
};

/* Strings are heap blocks of the config; NULL where not given. */
struct boot_source_config {
	char *kernel_image_path;
	char *initrd_path;
	char *boot_args;
	/* Opened when the source is put, as clients expect the error there; -1 where absent. */
	int kernel_fd;
	uint64_t kernel_len;
	int initrd_fd;
	uint64_t initrd_len;
};

/* Where the guest's serial output goes. Strings as above. */
struct serial_sink_config {
	char *serial_out_path; /* a file or FIFO, opened at start; NULL: standard output */
	struct token_bucket_config rate_limiter;
};

/* Where metrics go and what each line carries besides. Strings as above. */
struct metrics_sink_config {
	char *metrics_path;
	bool emit_id;
	char *properties; /* a JSON object of strings, as text; NULL: none */
};

struct vm_config {
	struct machine_config machine;
	struct boot_source_config boot_source; /* kernel_image_path is NULL until put */
	struct serial_sink_config serial;
	struct drive *drives; /* a root device is the first */
	size_t drive_count;
	struct net_interface *nets;
	size_t net_count;
	struct vsock_socket vsock;
	struct rng_config entropy;
	bool has_entropy;
	struct balloon_config balloon;
	bool has_balloon;
};

/* Sets the defaults: 1 vCPU, 128 MiB, no boot source, no devices. */
void vm_config_init(struct vm_config *config);
void vm_config_destroy(struct vm_config *config);

/* Validates and stores. On failure the stored configuration is as before. */
MUST_CHECK int vm_config_put_machine(struct vm_config *config, const struct machine_config *machine,
				     struct error *err);

/*
 * Opens the files, then takes over the strings of *source (leaving NULLs behind). On failure the
 * stored configuration is as before and *source is still the caller's.
 */
MUST_CHECK int vm_config_put_boot_source(struct vm_config *config,
					 struct boot_source_config *source, struct error *err);

/* Takes over the string of *serial. The file is opened when the machine starts [compat]. */
void vm_config_put_serial(struct vm_config *config, struct serial_sink_config *serial);

#endif
