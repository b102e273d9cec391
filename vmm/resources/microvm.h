/* SPDX-License-Identifier: Apache-2.0 */
/* One microVM: what was asked for, and the machine that was made of it. */
#ifndef VMM_RESOURCES_MICROVM_H
#define VMM_RESOURCES_MICROVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/mmds/mmds.h"
#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/blk_rings.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "vmm/base/gmem_pager.h"
#include "vmm/base/limiter.h"
#include "vmm/base/metrics.h"
#include "vmm/base/schema.h"
#include "vmm/control/controller.h"
#include "vmm/resources/drive.h"
#include "vmm/resources/filesystem.h"
#include "vmm/resources/images.h"
#include "vmm/resources/interface.h"
#include "vmm/resources/memory.h"
#include "vmm/resources/pmem.h"

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
	bool forkable;
	uint8_t pci_hotplug_ports;
};

/* Strings are heap blocks; NULL where not given. Files are opened when they are put [compat]. */
struct boot_source_config {
	char *kernel_image_path; /* NULL: not put yet */
	char *initrd_path;
	char *boot_args;
	int kernel_fd; /* -1: none */
	uint64_t kernel_len;
	int initrd_fd; /* -1: none */
	uint64_t initrd_len;
};

struct serial_config_body {
	char *serial_out_path;
	struct token_bucket_config rate_limiter;
	bool has_rate_limiter;
};

/*
 * Devices, here and in headers of their own, each with what it uses of the host: that is opened
 * when the device is put, as clients expect the error there. The configuration owns it, the device
 * borrows it.
 */
struct vsock_socket {
	struct vsock_config config; /* uds_path NULL: there is no socket device */
	int listener;
};

/* How guests reach their metadata. All is empty until a client sets it. */
struct metadata_config {
	enum mmds_version version;
	struct schema_list network_interfaces; /* ids; none: it is not configured */
	char *ipv4_address;
	bool imds_compat;
};

struct metadata {
	struct metadata_config config;
	struct mmds *mmds; /* NULL: there is neither data nor a configuration yet */
	struct metric_source source;
	struct metrics *metrics; /* where the source is listed */
};

enum {
	CONFIG_DEVICES_MAX = 128 /* of one list; a machine has fewer interrupts */
};

struct vm_config {
	struct machine_config machine;
	char *gdb_socket_path;			 /* NULL: none */
	const struct cpu_template *cpu_template; /* heap; NULL: none */
	const char *static_template; /* its name, a constant, in its place; NULL: none */
	struct boot_source_config boot_source;
	struct serial_config_body serial;
	struct drive *drives; /* a root device is the first */
	size_t drive_count;
	struct blk_rings rings; /* for drives that are plugged in */
	struct net_interface *nets;
	size_t net_count;
	struct filesystem *filesystems;
	size_t filesystem_count;
	struct vsock_socket vsock;
	struct pmem_devices pmems;
	struct rng_config entropy;
	bool has_entropy;
	struct balloon_config balloon;
	bool has_balloon;
	struct balloon *balloon_device; /* the machine's; NULL: not attached */
	struct memory_hotplug memory;
	struct metadata metadata;
};

/* All on the VMM thread. */
struct microvm {
	struct controller controller;
	uint64_t metadata_max;	/* bytes of JSON text */
	const char *api_socket; /* the caller's; NULL: there is none */
	bool is_forked;		/* a child, whose thread has a filter from the first */
	bool is_loaded;		/* or forked: others may go on from the same state */
	bool has_handed_over;	/* the files of drives, to who loads what was saved (claims.h) */
	bool is_configured;	/* a client has tried to configure what a snapshot brings along */
	struct vm_config config;
	struct gmem_pager pager; /* of a machine that was loaded by one */
	struct fork_images images;
	struct snapshot_live live;
	/* How a forked process becomes the monitor of a child; it does not return. */
	void (*become)(void *arg, struct fork_birth *birth);
	void *become_arg;
};

/*
 * Gives an interface, whose device is not attached yet, the metadata service if it is among those
 * that the configuration names. One that goes is not named any more.
 */
MUST_CHECK int metadata_check(const struct microvm *microvm, const struct net_interface *interface,
			      struct error *err); /* whether it can have what that names */
MUST_CHECK int metadata_attach(const struct microvm *microvm, const struct net_interface *interface,
			       struct error *err);
void metadata_detach(struct microvm *microvm, const char *iface_id);

/* Sets the defaults: 1 vCPU, 128 MiB, no devices. The rest above vm_config is the caller's. */
void microvm_init(struct microvm *microvm);
/* How a machine of this configuration starts. It refers to the configuration, and does not own. */
struct start_plan actions_plan(struct microvm *microvm);
/* Refuses what can't go with devices that other processes, or the host's kernel, serve. */
MUST_CHECK int actions_check_shared(const struct vm_config *config, struct error *err);
void microvm_destroy(struct microvm *microvm); /* ends the guest, if any; a zeroed one is fine */

#endif
