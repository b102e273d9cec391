/* SPDX-License-Identifier: Apache-2.0 */
/* Reads state files for the commands. The sentences are Firecracker's where it has them [compat].
 */
#include "tools/snapshot_editor/state_info.h"

#include <inttypes.h>

#include "arch/state.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"
#include "vmm/base/json.h"
#include "vmm/persist/memory_file.h"

/* What state files begin with, by architecture: docs/snapshot-format.md. */
static const struct {
	uint64_t magic;
	const char *arch;
} formats[] = {
	{UINT64_C(0x0710198486640000), "x86_64"},
	{UINT64_C(0x07101984aaaa0000), "aarch64"},
};

static const char *arch_of(uint64_t magic)
{
	for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
		if (formats[i].magic == magic) {
			return formats[i].arch;
		}
	}
	return NULL;
}

/* A file that is too short for a magic number is left to who reads it all. */
static int check_magic(const char *path, struct error *err)
{
	uint64_t magic = arch_state_magic;
	AUTO_FD fd = -1;
	uint64_t len;

	if (fd_open_file(path, path, &fd, &len, err) < 0) {
		return error_wrap(err, "Can not open snapshot file");
	}
	if (len >= sizeof(magic) && pread_full(fd, &magic, sizeof(magic), 0, err) < 0) {
		return error_wrap(err, "Can not load snapshot");
	}
	if (magic == arch_state_magic) {
		return 0;
	}
	if (arch_of(magic) != NULL) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Can not load snapshot: %s is of an %s machine, and this program "
				 "is for %s",
				 path, arch_of(magic), arch_of(arch_state_magic));
	}
	return error_set(err, ERR_CORRUPT, "Can not load snapshot: %s is no state file", path);
}

int state_open(const char *path, struct machine_state *state, struct error *err)
{
	if (check_magic(path, err) < 0) {
		return -1;
	}
	return state_file_read(path, state, err) < 0 ? error_wrap(err, "Can not load snapshot") : 0;
}

void state_print_version(struct machine_state *state, FILE *out)
{
	fprintf(out, "v%" PRIu32 ".0.0\n", state->format);
}

void state_print_vcpus(struct machine_state *state, FILE *out)
{
	for (uint32_t i = 0; i < state->vcpu_count; i++) {
		struct error ignored = {0};
		struct codec codec;

		fprintf(out, "vcpu %" PRIu32 ":\n", i);
		codec_dump(&codec, out);
		arch_vcpu_state_codec(&codec, &state->vcpus[i]);
		(void)!codec_finish(&codec, NULL, &ignored);
	}
}

void state_print_all(struct machine_state *state, FILE *out)
{
	state_file_dump(state, out);
}

uint64_t state_memory_len(const struct machine_state *state)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < state->region_count; i++) {
		if (!add_u64(len, state->regions[i].len, &len)) {
			return UINT64_MAX;
		}
	}
	return len;
}

static int verify_regions(const struct machine_state *state, struct error *err)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < state->region_count; i++) {
		const struct gmem_range *region = &state->regions[i];

		if (region->len == 0 || region->base.v < end ||
		    !add_u64(region->base.v, region->len, &end)) {
			return error_set(err, ERR_CORRUPT,
					 "Section memory, region %" PRIu32
					 ": it is empty, or not behind the one before it",
					 i);
		}
	}
	return state->region_count > 0 ? 0
				       : error_set(err, ERR_CORRUPT, "Section memory: it has none");
}

static int verify_config(const struct machine_state *state, struct error *err)
{
	struct json_doc doc;

	if (json_doc_load(state->config, state->config_len, "Section configuration is no JSON",
			  &doc, err) < 0) {
		return -1;
	}
	json_doc_free(&doc);
	return 0;
}

static int verify_memory(const struct machine_state *state, const char *path, struct error *err)
{
	uint64_t want = state_memory_len(state);
	AUTO_FD fd = -1;
	uint64_t len;

	if (fd_open_file(path, path, &fd, &len, err) < 0) {
		return -1;
	}
	if (len != want) {
		return error_set(err, ERR_CORRUPT,
				 "The memory file %s has %" PRIu64
				 " bytes, and the machine's memory %" PRIu64,
				 path, len, want);
	}
	return memory_file_check_whole(fd, path, state->base_page, err);
}

int state_verify(const struct machine_state *state, const char *memory, struct error *err)
{
	if (verify_config(state, err) < 0 || verify_regions(state, err) < 0) {
		return -1;
	}
	if (state->vcpu_count == 0) {
		return error_set(err, ERR_CORRUPT, "Section vcpus: there is none");
	}
	return memory != NULL ? verify_memory(state, memory, err) : 0;
}
