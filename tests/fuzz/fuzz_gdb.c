/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the debugger's server behind its socket: the input is what gdb sends, to a machine of two
 * vCPUs on the fake architecture. Where the guest runs, the next three bytes say which vCPU leaves
 * it and why. An input that begins with 'L' has the data of a packet in each line, which gets its
 * frame and the right sum here. Answers are packets; while the guest stands still, no breakpoint is
 * in its memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/debug/gdb_command.h"

enum {
	VCPUS = 2,
	RAM = 0x20000,
	EVENTS_MAX = 2000
};

static struct vm vm;
static struct gdb_session session;

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct gmem_range range = {GPA(0), RAM};
	struct error err = {0};

	(void)argc;
	(void)argv;
	be_quiet();
	require(gmem_new(&range, 1, GMEM_ANON, &vm.mem, &err) == 0);
	pthread_mutex_init(&vm.lock, NULL);
	pthread_cond_init(&vm.changed, NULL);
	vm.machine.vcpu_count = VCPUS;
	vm.parked = VCPUS; /* no thread is there to run or to wait for */
	for (unsigned i = 0; i < VCPUS; i++) {
		vm.vcpus[i] = (struct vcpu){.vm = &vm, .index = i, .fd = -1, .is_parked = true};
		vm.vcpus[i].arch = (struct arch_vcpu){.fd = -1, .index = i};
	}
	return 0;
}

static void check_still(void)
{
	for (unsigned i = 0; i < session.target.break_count; i++) {
		require(!session.target.breaks[i].is_written);
	}
	require(session.vcpu < VCPUS && session.stop.vcpu < VCPUS);
	require(session.target.break_count <= TARGET_BREAKS_MAX);
}

/* What goes out: an acknowledgement, and a whole packet behind it. */
static void check_sent(void)
{
	struct rsp *rsp = &session.rsp;
	const char *out = rsp->out + rsp->out_sent;
	size_t len = rsp_pending(rsp);
	unsigned sum = 0;

	rsp->out_sent = rsp->out_len;
	if (len > 0 && (out[0] == '+' || out[0] == '-')) {
		out++;
		len--;
	}
	if (len == 0) {
		return;
	}
	require(len >= RSP_FRAME && len <= RSP_DATA_MAX + RSP_FRAME);
	require(out[0] == '$' && out[len - 3] == '#');
	for (size_t i = 1; i < len - 3; i++) {
		require(out[i] != '$' && out[i] != '#' && out[i] != '\0');
		sum += (unsigned char)out[i];
	}
	char digits[3];

	(void)!snprintf(digits, sizeof(digits), "%02x", sum & 0xff);
	require(memcmp(out + len - 2, digits, 2) == 0);
}

static void stop_guest(struct input *input)
{
	const uint32_t numbers[] = {(uint32_t)input_number(input, 1),
				    (uint32_t)input_number(input, 1)};
	struct target *target = &session.target;
	struct error err = {0};

	for (uint64_t which = input_number(input, 1) % (1 << VCPUS), i = 0; i < VCPUS; i++) {
		vm.vcpus[i].has_stopped = (which >> i & 1) != 0 && (target->runs >> i & 1) != 0;
		memcpy(&vm.vcpus[i].stop, numbers, sizeof(numbers));
	}
	require(target_halt(target, &err) == 0);
	if (target_find_stop(target, &session.stop)) {
		session.is_running = false;
		gdb_report(&session);
	} else {
		require(target_resume(target, target->runs, target->steps, &err) == 0);
	}
}

/* False: the connection has ended. */
static bool serve(struct input *input)
{
	if (session.is_running) {
		stop_guest(input);
		check_sent();
	}
	switch (rsp_next(&session.rsp)) {
	case RSP_MORE:
		return input->size > 0;
	case RSP_LOST:
		return false;
	case RSP_AGAIN:
		rsp_resend(&session.rsp);
		break;
	case RSP_REFUSED:
	case RSP_INTERRUPT:
		break;
	case RSP_PACKET: {
		enum gdb_next next = gdb_command(&session);

		if (next == GDB_STOPPED) {
			gdb_report(&session);
		}
		if (next == GDB_DETACHED || next == GDB_KILLED) {
			check_sent();
			return false;
		}
		break;
	}
	}
	check_sent();
	if (!session.is_running) {
		check_still();
	}
	return true;
}

static void feed_bytes(struct input *input)
{
	struct rsp *rsp = &session.rsp;
	const size_t len = min_u64(min_u64(rsp_room(rsp), input->size), 300);

	require(input_take(input, rsp->in + rsp->in_len, len));
	rsp->in_len += len;
}

static void feed_line(struct input *input)
{
	struct rsp *rsp = &session.rsp;
	char *to = rsp->in;
	unsigned sum = 0;

	*to++ = '$';
	for (uint8_t c; to < rsp->in + RSP_DATA_MAX && input_take(input, &c, 1) && c != '\n';) {
		*to++ = (char)c;
		sum += c;
	}
	to += snprintf(to, RSP_FRAME, "#%02x", sum & 0xff);
	rsp->in_len = (size_t)(to - rsp->in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct debug_can can = {.debug = true, .traps = true, .breaks = 2, .watches = 2};
	struct input input = {data, size};
	const bool has_lines = size > 0 && data[0] == 'L';

	if (has_lines) {
		input_skip(&input, 1);
	}

	rsp_init(&session.rsp);
	session.stop = (struct target_stop){0};
	session.vcpu = 0;
	session.is_running = false;
	target_init(&session.target, &vm, can);
	for (int events = 0; events < EVENTS_MAX && input.size > 0; events++) {
		if (has_lines) {
			feed_line(&input);
		} else {
			feed_bytes(&input);
		}
		if (!serve(&input)) {
			break;
		}
	}
	target_detach(&session.target);
	require(session.target.break_count == 0 && session.target.plan.point_count == 0);
	require(!vm.vcpus[0].is_held && !vm.vcpus[1].is_held);
	return 0;
}
