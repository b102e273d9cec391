/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device as plain numbers, between a save and a load. What clients configured (drive,
 * interface, limits) is not among them: a machine that is loaded makes its devices from its
 * configuration first, and then loads into them what the driver has made of them.
 */
#ifndef DEVICES_VIRTIO_STATE_H
#define DEVICES_VIRTIO_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/core/virtio.h"
#include "vmm/base/attr.h"
#include "vmm/base/codec.h"
#include "vmm/base/error.h"
#include "vmm/base/limiter.h"

enum {
	VIRTIO_STATE_WORDS = 64, /* room for the state of any class */
	VIRTIO_STATE_ID_LEN = 64,
	VIRTIO_REMOTE_MAX = 8 << 20,  /* bytes of what another process has */
	VIRTIO_REMOTE_WAIT_MS = 2000, /* for the processes of all devices, in a save */
};

/*
 * What the configuration and `acked` say of a started queue is not repeated, and no chain is held,
 * so that both rings are at one index.
 */
struct virtio_queue_state {
	struct virtq_config config; /* what the driver wrote */
	bool is_started;
	uint16_t next; /* entry of the available and the used ring; 0 unless it is started */
};

/* What another process, which serves the queues, has of a device. */
struct virtio_remote_state {
	uint8_t *bytes; /* heap block; NULL: none */
	uint32_t len;	/* VIRTIO_REMOTE_MAX at most */
};

struct virtio_state {
	uint32_t type;
	char id[VIRTIO_STATE_ID_LEN];
	uint64_t offered;
	uint64_t acked;
	uint8_t status;
	bool is_active;
	uint32_t config_generation;
	uint32_t config_len;
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint32_t queue_count;
	struct virtio_queue_state queues[VIRTIO_QUEUES_MAX];
	uint64_t own[VIRTIO_STATE_WORDS]; /* the class's struct */
	struct virtio_remote_state remote;
};

/* What a field of the configuration is when its device is loaded. */
enum virtio_config_kind {
	VIRTIO_CONFIG_SAME,  /* the host's, and the driver counts on it: another value is refused */
	VIRTIO_CONFIG_NOW,   /* the host's, and it may change: the driver is told if it has */
	VIRTIO_CONFIG_SAVED, /* of the driver's making, or what a client has set meanwhile */
};

/* Each byte of a class's configuration is in one of its fields. */
struct virtio_config_field {
	const char *name;
	uint8_t offset;
	uint8_t len;
	enum virtio_config_kind kind;
};

#define VIRTIO_CONFIG_FIELDS(table) .fields = (table), .field_count = ARRAY_COUNT(table)

/* What a class has besides queues and configuration. Functions are under the lock. */
struct virtio_class_state {
	const struct virtio_config_field *fields;
	size_t field_count;
	/* Of its own; NULL: it has none, and none of what follows. */
	const struct codec_section *section;
	/* All that it has is what is left of a rate limit: this one. NULL: it has a struct. */
	struct limiter *(*limiter)(struct virtio_dev *dev);
	size_t size;
	void (*codec)(struct codec *codec, void *own); /* in the open section */
	/* What follows there for a device of so many queues; NULL: nothing. */
	void (*codec_queues)(struct codec *codec, uint32_t queue_count, void *own);
	void (*save)(struct virtio_dev *dev, void *own);
	/*
	 * Into a device that is as its driver had it, activated if it was active, with the saved
	 * configuration. Trusts nothing, as virtio_load. On the VMM thread; also for a device that
	 * is not active, or broken.
	 */
	int (*load)(struct virtio_dev *dev, const void *own, struct error *err);
	/*
	 * Of a device whose queues another process serves; NULL: none does. Saving has it stop them
	 * until the class's resume, and sets the queues' indexes to where they stand; *remote is
	 * zeroed before. It waits for the process until `deadline_ms` of CLOCK_MONOTONIC. Loading
	 * is as `load`, behind it, of a device that works; it may wait for a time that the class
	 * bounds.
	 */
	int (*save_remote)(struct virtio_dev *dev, struct virtio_remote_state *remote,
			   uint64_t deadline_ms, struct error *err);
	int (*load_remote)(struct virtio_dev *dev, const struct virtio_remote_state *remote,
			   struct error *err);
};

/* In a class's file: its struct has room. */
#define VIRTIO_STATE_FITS(type)                                                                    \
	_Static_assert(sizeof(type) <= VIRTIO_STATE_WORDS * sizeof(uint64_t), "room for " #type)

/* Finds the class of a type; NULL: there is none. */
typedef const struct virtio_class *(*virtio_class_fn)(uint32_t type);

/*
 * Names the fields: a section for what all devices have, and one of the class's own. When loading,
 * *state is zeroed before. A device whose type nobody knows is read without what is its own, and
 * virtio_load refuses it.
 */
void virtio_state_codec(struct codec *codec, struct virtio_state *state, virtio_class_fn find);

/* Of a device that is quiet (virtio_quiesce). Changes nothing: the machine may go on. VMM thread.
 */
void virtio_save(struct virtio_dev *dev, struct virtio_state *state);

/*
 * What another process has of such a device; a zeroed *remote stays as it is where there is none.
 * To be called before virtio_save, which knows nothing of it: the caller puts it into the state,
 * or frees its bytes, after a failure too. Waits for the process until `deadline_ms` of
 * CLOCK_MONOTONIC, which is one for all devices of a machine (VIRTIO_REMOTE_WAIT_MS). VMM thread.
 */
MUST_CHECK int virtio_save_remote(struct virtio_dev *dev, struct virtio_remote_state *remote,
				  uint64_t deadline_ms, struct error *err);

/* Frees what loading or the caller put into a state; a zeroed one is fine. */
void virtio_state_destroy(struct virtio_state *state);

/*
 * Into a device that was just made and attached, before any vCPU runs, and after the interrupt
 * controller was loaded: if the host's part of the configuration has changed, the driver gets an
 * interrupt. Nothing of *state is trusted. ERR_CORRUPT: no driver can have brought the device
 * there. ERR_NOT_SUPPORTED: the device as it is made now lacks features that the driver uses, or
 * differs in what the driver counts on; the sentence names them. ERR_HOST: the host refused what
 * the driver has asked for. After a failure the device may only be freed. virtio_resume has its
 * queues served. VMM thread.
 */
MUST_CHECK int virtio_load(struct virtio_dev *dev, const struct virtio_state *state,
			   struct error *err);

#endif
