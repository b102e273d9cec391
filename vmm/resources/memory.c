/* SPDX-License-Identifier: Apache-2.0 */
/* /hotplug/memory: memory that the guest plugs in and unplugs as asked for. */
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

/* --- Bodies --- */

enum { /* [compat] */
	BLOCK_MIN_MIB = 2,
	SLOT_MIN_MIB = 128,
};

static const struct mem_config defaults = {
	.block_size_mib = BLOCK_MIN_MIB,
	.slot_size_mib = SLOT_MIN_MIB,
};

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct mem_config, total_size_mib, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct mem_config, block_size_mib, SCHEMA_DEFAULTED),
	SCHEMA_FIELD(struct mem_config, slot_size_mib, SCHEMA_DEFAULTED),
};

static const struct schema schema = SCHEMA("MemoryHotplugConfig", struct mem_config, fields);

struct patch_body {
	uint32_t requested_size_mib;
};

static const struct schema_field patch_fields[] = {
	SCHEMA_FIELD(struct patch_body, requested_size_mib, SCHEMA_REQUIRED),
};

static const struct schema patch_schema =
	SCHEMA("MemoryHotplugSizeUpdate", struct patch_body, patch_fields);

/* --- The configuration --- */

static void clear(struct vm_config *config)
{
	config->memory = (struct memory_hotplug){0};
}

static json_t *show(const struct vm_config *config)
{
	return resource_show(config->memory.is_there, &schema, &config->memory.config);
}

static int check_sizes(const struct mem_config *memory, struct error *err)
{
	if (memory->block_size_mib < BLOCK_MIN_MIB) {
		return error_set(err, ERR_BAD_REQUEST, "Block size must not be lower than %d MiB",
				 BLOCK_MIN_MIB);
	}
	if ((memory->block_size_mib & (memory->block_size_mib - 1)) != 0) {
		return error_set(err, ERR_BAD_REQUEST, "Block size must be a power of 2");
	}
	if (memory->slot_size_mib < SLOT_MIN_MIB) {
		return error_set(err, ERR_BAD_REQUEST, "Slot size must not be lower than %d MiB",
				 SLOT_MIN_MIB);
	}
	if (memory->slot_size_mib % memory->block_size_mib != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Slot size must be a multiple of block size (%u MiB)",
				 memory->block_size_mib);
	}
	if (memory->total_size_mib < memory->slot_size_mib) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Total size must not be lower than slot size (%u MiB)",
				 memory->slot_size_mib);
	}
	if (memory->total_size_mib % memory->slot_size_mib != 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Total size must be a multiple of slot size (%u MiB)",
				 memory->slot_size_mib);
	}
	return 0;
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct mem_config *config = request->body;

	if (check_sizes(config, err) < 0) {
		return -1;
	}
	microvm->config.memory = (struct memory_hotplug){.is_there = true, .config = *config};
	return 0;
}

struct machine_plug memory_plug(const struct memory_hotplug *memory)
{
	const struct mem_config *config = &memory->config;

	return memory->is_there
		       ? (struct machine_plug){
				 .len = config->total_size_mib * MIB,
				 .block_len = mem_unit_len(config),
				 .align = max_u64(config->block_size_mib, SLOT_MIN_MIB) * MIB,
			 }
		       : (struct machine_plug){0};
}

/* --- The machine's device --- */

static int attach(struct microvm *microvm, const struct attachment *at, struct error *err)
{
	struct memory_hotplug *memory = &microvm->config.memory;
	const struct dev_env env = devmgr_env(at->devmgr);

	if (!memory->is_there) {
		return 0;
	}
	if (mem_new(&env, &memory->config, &memory->device, err) < 0 ||
	    devmgr_attach(at, mem_virtio(memory->device), NULL, err) < 0) {
		return error_wrap(err, "Cannot attach the memory device");
	}
	return 0;
}

static int get(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct memory_hotplug *memory = &microvm->config.memory;
	struct mem_status status;

	if (!memory->is_there) {
		return error_set(err, ERR_BAD_REQUEST, "%s", resource_not_found);
	}
	mem_get_status(memory->device, &status);
	return request_reply(request,
			     json_pack("{s:I, s:I, s:I, s:I, s:I}", "block_size_mib",
				       (json_int_t)memory->config.block_size_mib, "total_size_mib",
				       (json_int_t)memory->config.total_size_mib, "slot_size_mib",
				       (json_int_t)memory->config.slot_size_mib, "plugged_size_mib",
				       (json_int_t)status.plugged_size_mib, "requested_size_mib",
				       (json_int_t)status.requested_size_mib),
			     err);
}

static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct patch_body *body = request->body;

	if (!microvm->config.memory.is_there) {
		return error_set(err, ERR_BAD_REQUEST, "%s", resource_not_found);
	}
	return mem_request(microvm->config.memory.device, body->requested_size_mib, err);
}

const struct resource memory_resource = {
	.path = {"hotplug", "memory"},
	.is_for_boot = true,
	.methods =
		{
			[HTTP_GET] = {.states = AFTER_START,
				      .prefix = "Internal VMM error",
				      .run = get,
				      GETS(hotplug_memory)},
			[HTTP_PUT] = {.states = BEFORE_START,
				      .body = BODY_JSON,
				      .schema = &schema,
				      .defaults = &defaults,
				      .prefix = "Memory hotplug config error",
				      .run = put,
				      PUTS(hotplug_memory)},
			[HTTP_PATCH] = {.states = AFTER_START,
					.body = BODY_JSON,
					.schema = &patch_schema,
					.prefix = "Memory hotplug update error",
					.run = patch,
					PATCHES(hotplug_memory)},
		},
	.key = "memory-hotplug",
	.need = SCHEMA_OPTIONAL,
	.turn = 13,
	.show = show,
	.metrics = &mem_metric_group,
	.attach = attach,
	.clear = clear,
};
