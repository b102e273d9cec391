/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the loading of vCPUs and interrupt controllers: the input is the sections of a state file.
 * What the file is to blame for comes with a sentence; what is loaded can be dumped, and saved and
 * loaded again. KVM is scripted, and takes everything. Built for each architecture.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/state.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/bytes.h"
#include "vmm/base/crc64.h"

enum {
	INPUT_MAX = 65536,
	SECTIONS_AT = 15, /* behind the head of a file, with its writer of one byte */
	CRC_LEN = 8,
};

static const struct codec_file head = {.magic = 1, .format = 1, .writer = "f"};

struct states {
	struct arch_vcpu_state vcpu;
	struct arch_vm_state vm;
};

static void code(struct codec *codec, struct states *states)
{
	arch_vcpu_state_codec(codec, &states->vcpu);
	arch_vm_state_codec(codec, &states->vm);
}

/* A file of these sections. */
static size_t make_file(uint8_t *bytes, const uint8_t *sections, size_t len)
{
	struct codec codec;
	struct error err = {0};
	size_t head_len = 0;

	codec_save(&codec, &head, bytes, SECTIONS_AT + CRC_LEN);
	require(codec_finish(&codec, &head_len, &err) == 0 && head_len == SECTIONS_AT + CRC_LEN);
	memcpy(bytes + SECTIONS_AT, sections, len);
	store_le64(bytes + SECTIONS_AT + len, crc64(bytes, SECTIONS_AT + len));
	return SECTIONS_AT + len + CRC_LEN;
}

static int load_file(const uint8_t *bytes, size_t len, struct states *states, struct error *err)
{
	struct codec codec;

	codec_load(&codec, &head, bytes, len);
	code(&codec, states);
	return codec_finish(&codec, NULL, err);
}

/* Saved and loaded again it is the same. */
static void copy(struct states *states)
{
	static uint8_t bytes[2][2 * INPUT_MAX];
	static struct states again;
	struct codec codec;
	struct error err = {0};
	size_t len = 0;
	size_t len_again = 0;

	codec_save(&codec, &head, bytes[0], sizeof(bytes[0]));
	code(&codec, states);
	require(codec_finish(&codec, &len, &err) == 0);
	again = (struct states){0};
	require(load_file(bytes[0], len, &again, &err) == 0);
	codec_save(&codec, &head, bytes[1], sizeof(bytes[1]));
	code(&codec, &again);
	require(codec_finish(&codec, &len_again, &err) == 0);
	require(len == len_again && memcmp(bytes[0], bytes[1], len) == 0);
}

static void dump(struct states *states)
{
	static FILE *nowhere;
	struct codec codec;
	struct error err = {0};

	if (nowhere == NULL) {
		nowhere = fopen("/dev/null", "we");
	}
	codec_dump(&codec, nowhere);
	code(&codec, states);
	require(codec_finish(&codec, NULL, &err) == 0);
}

static void load_machine(const struct states *states)
{
	const struct arch_machine machine = {.vcpu_count = 1, .is_loaded = true};
	const struct arch_load clock = {0};
	static struct arch_vm vm;
	static struct arch_vcpu vcpu;
	struct error err = {0};

	vm = (struct arch_vm){0};
	require(arch_vm_init(&vm, 1000, 1001, &machine, &err) == 0);
	require(arch_vcpu_init(&vcpu, &vm, 1002, 0, &err) == 0);
	require(arch_vm_finish(&vm, &err) == 0);
	if (arch_vcpu_load(&vcpu, &states->vcpu, &err) < 0 ||
	    arch_vm_load(&vm, &states->vm, &clock, &err) < 0) {
		require_fault(&err);
	}
	arch_vm_destroy(&vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[INPUT_MAX + SECTIONS_AT + CRC_LEN];
	static struct states states;
	struct error err = {0};

	be_quiet();
	if (size > INPUT_MAX) {
		return 0;
	}
	states = (struct states){0};
	size_t len = make_file(bytes, data, size);

	if (load_file(bytes, len, &states, &err) < 0) {
		require_fault(&err);
		return 0;
	}
	dump(&states);
	copy(&states);
	load_machine(&states);
	return 0;
}
