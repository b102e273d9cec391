/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of gdb's remote serial protocol [gdb manual, appendix E]. A vCPU is a thread, whose
 * number is one more than the vCPU's. What is not here is answered by an empty packet, by which gdb
 * knows that it is not there.
 */
#include "vmm/debug/gdb_command.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"
#include "vmm/base/text.h"
#include "vmm/debug/description.h"

enum {
	MEMORY_MAX = RSP_DATA_MAX / 2, /* bytes of one packet */
};

/* Numbers of errors, which gdb shows and does not interpret. */
enum fault {
	FAULT_ASKED = 1,   /* the packet makes no sense */
	FAULT_HOST = 5,	   /* KVM refuses */
	FAULT_MEMORY = 14, /* there is no memory */
	FAULT_POINT = 28,  /* no room for a breakpoint, or of no such kind */
};

static void answer_ok(struct gdb_session *session)
{
	rsp_put(&session->rsp, "OK");
}

/* By which gdb knows that there is no such thing here. */
static void answer_nothing(struct gdb_session *session)
{
	rsp_put(&session->rsp, "%s", "");
}

static void refuse(struct gdb_session *session, enum fault fault)
{
	rsp_put(&session->rsp, "E%02x", (unsigned)fault);
}

/* KVM's refusal, for the log; gdb has room for a number. */
static void refuse_host(struct gdb_session *session, const struct error *err)
{
	log_warn("The debugger asked for what can't be done: %s", err->msg);
	refuse(session, FAULT_HOST);
}

/* --- Registers --- */

static size_t regs_len(void)
{
	size_t len = 0;

	for (size_t i = 0; i < debug_reg_count; i++) {
		len += debug_regs[i].bits / 8;
	}
	assert(len <= DEBUG_BYTES_MAX);
	return len;
}

static bool read_regs(struct gdb_session *session, uint8_t bytes[DEBUG_BYTES_MAX])
{
	struct error err = {0};

	if (debug_get_regs(&session->target.vm->vcpus[session->vcpu].arch, bytes, &err) < 0) {
		refuse_host(session, &err);
		return false;
	}
	return true;
}

static void write_regs(struct gdb_session *session, const uint8_t bytes[DEBUG_BYTES_MAX])
{
	struct error err = {0};

	if (debug_set_regs(&session->target.vm->vcpus[session->vcpu].arch, bytes, &err) < 0) {
		refuse_host(session, &err);
		return;
	}
	answer_ok(session);
}

static void get_all_regs(struct gdb_session *session)
{
	uint8_t bytes[DEBUG_BYTES_MAX];

	if (read_regs(session, bytes)) {
		rsp_put_hex(&session->rsp, bytes, regs_len());
	}
}

static void set_all_regs(struct gdb_session *session, struct rsp_text *text)
{
	uint8_t bytes[DEBUG_BYTES_MAX];

	if (!rsp_take_bytes(text, bytes, regs_len())) {
		refuse(session, FAULT_ASKED);
		return;
	}
	write_regs(session, bytes);
}

/* Takes a register's number: where it lies among the bytes of all, and how many it has. */
static bool take_reg(struct rsp_text *text, size_t *at, size_t *len)
{
	uint64_t number;

	*at = 0;
	*len = 0;
	if (!rsp_take_number(text, &number) || number >= debug_reg_count) {
		return false;
	}
	for (size_t i = 0; i <= number; i++) {
		*at += *len;
		*len = debug_regs[i].bits / 8;
	}
	return true;
}

static void get_reg(struct gdb_session *session, struct rsp_text *text)
{
	uint8_t bytes[DEBUG_BYTES_MAX];
	size_t at;
	size_t len;

	if (!take_reg(text, &at, &len)) {
		refuse(session, FAULT_ASKED);
	} else if (read_regs(session, bytes)) {
		rsp_put_hex(&session->rsp, bytes + at, len);
	}
}

static void set_reg(struct gdb_session *session, struct rsp_text *text)
{
	uint8_t bytes[DEBUG_BYTES_MAX];
	uint8_t value[DEBUG_BYTES_MAX];
	size_t at;
	size_t len;

	if (!take_reg(text, &at, &len) || !rsp_take(text, "=") ||
	    !rsp_take_bytes(text, value, len)) {
		refuse(session, FAULT_ASKED);
	} else if (read_regs(session, bytes)) {
		memcpy(bytes + at, value, len);
		write_regs(session, bytes);
	}
}

/* "OFFSET,LENGTH": a piece of the description, and whether more follows. */
static void read_description(struct gdb_session *session, struct rsp_text *text)
{
	char buf[DESCRIPTION_MAX];
	struct text xml;
	uint64_t offset;
	uint64_t len;

	if (!rsp_take_number(text, &offset) || !rsp_take(text, ",") ||
	    !rsp_take_number(text, &len)) {
		refuse(session, FAULT_ASKED);
		return;
	}
	text_init(&xml, buf, sizeof(buf));
	description_add(&xml);
	offset = min_u64(offset, xml.len);
	len = min_u64(min_u64(len, RSP_DATA_MAX - 1), xml.len - offset);
	rsp_put(&session->rsp, "%c%.*s", offset + len < xml.len ? 'm' : 'l', (int)len,
		buf + offset);
}

/* --- Memory --- */

/* "ADDRESS,LENGTH" */
static bool take_range(struct rsp_text *text, uint64_t *address, uint64_t *len)
{
	return rsp_take_number(text, address) && rsp_take(text, ",") && rsp_take_number(text, len);
}

static void read_memory(struct gdb_session *session, struct rsp_text *text)
{
	uint8_t bytes[MEMORY_MAX];
	uint64_t address;
	uint64_t len;

	if (!take_range(text, &address, &len)) {
		refuse(session, FAULT_ASKED);
		return;
	}
	const size_t done = target_read(&session->target, session->vcpu, address, bytes,
					min_u64(len, sizeof(bytes)));

	if (done == 0 && len > 0) {
		refuse(session, FAULT_MEMORY);
		return;
	}
	rsp_put_hex(&session->rsp, bytes, done);
}

static void write_memory(struct gdb_session *session, struct rsp_text *text)
{
	uint8_t bytes[MEMORY_MAX];
	uint64_t address;
	uint64_t len;

	if (!take_range(text, &address, &len) || len > sizeof(bytes) || !rsp_take(text, ":") ||
	    !rsp_take_bytes(text, bytes, len)) {
		refuse(session, FAULT_ASKED);
	} else if (!target_write(&session->target, session->vcpu, address, bytes, len)) {
		refuse(session, FAULT_MEMORY);
	} else {
		answer_ok(session);
	}
}

/* --- Breakpoints: "TYPE,ADDRESS,KIND" --- */

static void refuse_point(struct gdb_session *session, uint64_t address)
{
	const struct debug_can *can = &session->target.plan.can;

	log_warn(
		"The debugger's breakpoint or watchpoint at %#llx is refused: the processor has no "
		"room for it. With this host's KVM a guest stops at up to %u hardware breakpoints "
		"and %u watchpoints, %s",
		(unsigned long long)address, can->breaks, can->watches,
		can->traps ? "and at breakpoint instructions"
			   : "and breakpoint instructions do not stop it");
	refuse(session, FAULT_POINT);
}

static void change_point(struct gdb_session *session, struct rsp_text *text, bool is_set)
{
	static const enum debug_point_kind kinds[] = {
		[1] = DEBUG_EXEC, [2] = DEBUG_WRITE, [3] = DEBUG_READ, [4] = DEBUG_ACCESS};
	struct target *target = &session->target;
	struct debug_point point;
	uint64_t type;
	bool is_done = true;

	if (!rsp_take_number(text, &type) || !rsp_take(text, ",") ||
	    !take_range(text, &point.address, &point.len) || type >= ARRAY_COUNT(kinds)) {
		refuse(session, FAULT_ASKED);
		return;
	}
	/* Where the instruction would kill the guest, a breakpoint of hardware does the same. */
	type += type == 0 && !target->plan.can.traps ? 1 : 0;
	point.kind = kinds[type];
	if (type == 0 && is_set) {
		is_done = target_set_break(target, session->vcpu, point.address);
	} else if (type == 0) {
		target_clear_break(target, point.address);
	} else if (is_set) {
		is_done = target_set_point(target, &point);
	} else {
		target_clear_point(target, &point);
	}
	if (is_done) {
		answer_ok(session);
	} else if (type == 0) {
		refuse(session, FAULT_MEMORY);
	} else {
		refuse_point(session, point.address);
	}
}

/* --- Threads --- */

/* Takes the number of a thread: bits of vCPUs; "-1" and "0" are all. */
static bool take_thread(const struct gdb_session *session, struct rsp_text *text, uint32_t *vcpus)
{
	const uint32_t all = target_all(&session->target);
	uint64_t thread;

	*vcpus = all;
	if (rsp_take(text, "-1")) {
		return true;
	}
	if (!rsp_take_number(text, &thread) || thread > ARCH_VCPUS_MAX) {
		return false;
	}
	if (thread > 0) {
		*vcpus = all & UINT32_C(1) << (thread - 1);
	}
	return *vcpus != 0;
}

/* "Hg THREAD"; other operations change nothing that is here. */
static void choose_thread(struct gdb_session *session, struct rsp_text *text)
{
	const bool is_for_regs = rsp_take(text, "g");
	uint32_t vcpus;

	if ((!is_for_regs && !rsp_take(text, "c")) || !take_thread(session, text, &vcpus)) {
		refuse(session, FAULT_ASKED);
		return;
	}
	if (is_for_regs && (vcpus & (vcpus - 1)) == 0) {
		session->vcpu = (unsigned)__builtin_ctz(vcpus);
	}
	answer_ok(session);
}

static void check_thread(struct gdb_session *session, struct rsp_text *text)
{
	uint32_t vcpus;

	if (!take_thread(session, text, &vcpus)) {
		refuse(session, FAULT_ASKED);
		return;
	}
	answer_ok(session);
}

static void list_threads(struct gdb_session *session)
{
	rsp_begin(&session->rsp);
	for (unsigned i = 1; i <= session->target.vm->machine.vcpu_count; i++) {
		rsp_add(&session->rsp, "%s%x", i == 1 ? "m" : ",", i);
	}
	rsp_end(&session->rsp);
}

static void name_thread(struct gdb_session *session, struct rsp_text *text)
{
	char name[] = "vCPU 00";
	uint32_t vcpus;

	if (!take_thread(session, text, &vcpus)) {
		refuse(session, FAULT_ASKED);
		return;
	}
	(void)!snprintf(name, sizeof(name), "vCPU %u", (unsigned)__builtin_ctz(vcpus) % 100);
	rsp_put_hex(&session->rsp, (const uint8_t *)name, strlen(name));
}

/* --- Going on --- */

static enum gdb_next resume(struct gdb_session *session, uint32_t runs, uint32_t steps)
{
	struct error err = {0};

	/* A stop that has not been told yet comes first. */
	if (target_find_stop(&session->target, &session->stop)) {
		return GDB_STOPPED;
	}
	if (target_resume(&session->target, runs, steps, &err) < 0) {
		refuse_host(session, &err);
		return GDB_GO_ON;
	}
	session->is_running = true;
	return GDB_GO_ON; /* the answer is the next stop */
}

/* One action of vCont; signals, which C and S have, mean nothing to a machine. */
static bool take_action(struct gdb_session *session, struct rsp_text *text, bool *steps,
			uint32_t *vcpus)
{
	uint64_t signal;

	*vcpus = target_all(&session->target);
	*steps = *text->at == 's' || *text->at == 'S';
	if (rsp_take(text, "C") || rsp_take(text, "S")) {
		if (!rsp_take_number(text, &signal)) {
			return false;
		}
	} else if (!rsp_take(text, "c") && !rsp_take(text, "s")) {
		return false;
	}
	return !rsp_take(text, ":") || take_thread(session, text, vcpus);
}

/* ";ACTION[:THREAD]...": the first one that names a thread is the thread's. */
static enum gdb_next continue_by(struct gdb_session *session, struct rsp_text *text)
{
	uint32_t runs = 0;
	uint32_t steps = 0;

	while (rsp_take(text, ";")) {
		uint32_t vcpus;
		bool is_step;

		if (!take_action(session, text, &is_step, &vcpus)) {
			refuse(session, FAULT_ASKED);
			return GDB_GO_ON;
		}
		steps |= is_step ? vcpus & ~runs : 0;
		runs |= vcpus;
	}
	if (runs == 0) {
		refuse(session, FAULT_ASKED);
		return GDB_GO_ON;
	}
	return resume(session, runs, steps);
}

/* c, C, s and S, without the address that they may have: gdb uses vCont. */
static enum gdb_next continue_simply(struct gdb_session *session, bool is_step)
{
	const uint32_t vcpu = UINT32_C(1) << session->vcpu;

	return is_step ? resume(session, vcpu, vcpu)
		       : resume(session, target_all(&session->target), 0);
}

void gdb_report(struct gdb_session *session)
{
	static const char *const watches[] = {
		[DEBUG_WRITE] = "watch", [DEBUG_READ] = "rwatch", [DEBUG_ACCESS] = "awatch"};
	const struct target_stop *stop = &session->stop;
	struct rsp *rsp = &session->rsp;

	session->vcpu = stop->vcpu;
	rsp_begin(rsp);
	/* SIGINT and SIGTRAP */
	rsp_add(rsp, "T%02xthread:%x;", stop->cause == TARGET_INTERRUPTED ? 2 : 5, stop->vcpu + 1);
	switch (stop->cause) {
	case TARGET_BREAK:
		rsp_add(rsp, "swbreak:;");
		break;
	case TARGET_HARD_BREAK:
		rsp_add(rsp, "hwbreak:;");
		break;
	case TARGET_WATCH:
		rsp_add(rsp, "%s:%llx;", watches[stop->kind], (unsigned long long)stop->address);
		break;
	case TARGET_ATTACHED:
	case TARGET_INTERRUPTED:
	case TARGET_STEPPED:
		break;
	}
	rsp_end(rsp);
}

/* --- Queries, and all others --- */

static void query(struct gdb_session *session, struct rsp_text *text)
{
	if (rsp_take(text, "Supported")) {
		rsp_put(&session->rsp,
			"PacketSize=%x;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;"
			"QStartNoAckMode+",
			RSP_DATA_MAX);
	} else if (rsp_take(text, "Xfer:features:read:target.xml:")) {
		read_description(session, text);
	} else if (rsp_take(text, "fThreadInfo")) {
		list_threads(session);
	} else if (rsp_take(text, "sThreadInfo")) {
		rsp_put(&session->rsp, "l");
	} else if (rsp_take(text, "ThreadExtraInfo,")) {
		name_thread(session, text);
	} else if (rsp_take(text, "Attached")) {
		rsp_put(&session->rsp, "1"); /* so that gdb detaches when it quits */
	} else if (strcmp(text->at, "C") == 0) {
		rsp_put(&session->rsp, "QC%x", session->vcpu + 1);
	} else {
		answer_nothing(session);
	}
}

static enum gdb_next multi_letter(struct gdb_session *session, struct rsp_text *text)
{
	if (rsp_take(text, "Cont?")) {
		rsp_put(&session->rsp, "vCont;c;C;s;S");
	} else if (rsp_take(text, "Cont")) {
		return continue_by(session, text);
	} else if (rsp_take(text, "Kill")) {
		answer_ok(session);
		return GDB_KILLED;
	} else {
		answer_nothing(session);
	}
	return GDB_GO_ON;
}

static void quiet(struct gdb_session *session, struct rsp_text *text)
{
	if (!rsp_take(text, "StartNoAckMode")) {
		answer_nothing(session);
		return;
	}
	answer_ok(session);
	session->rsp.is_quiet = true;
}

/* Those that need vCPUs that stand still, as all do but the end of a session. */
static enum gdb_next halted_command(struct gdb_session *session, char command,
				    struct rsp_text *text)
{
	switch (command) {
	case '?':
		gdb_report(session);
		break;
	case 'g':
		get_all_regs(session);
		break;
	case 'G':
		set_all_regs(session, text);
		break;
	case 'p':
		get_reg(session, text);
		break;
	case 'P':
		set_reg(session, text);
		break;
	case 'm':
		read_memory(session, text);
		break;
	case 'M':
		write_memory(session, text);
		break;
	case 'Z':
	case 'z':
		change_point(session, text, command == 'Z');
		break;
	case 'H':
		choose_thread(session, text);
		break;
	case 'T':
		check_thread(session, text);
		break;
	case 'c':
	case 'C':
	case 's':
	case 'S':
		return continue_simply(session, command == 's' || command == 'S');
	case 'v':
		return multi_letter(session, text);
	case 'q':
		query(session, text);
		break;
	case 'Q':
		quiet(session, text);
		break;
	default:
		answer_nothing(session);
		break;
	}
	return GDB_GO_ON;
}

enum gdb_next gdb_command(struct gdb_session *session)
{
	const char command = session->rsp.data[0];
	struct rsp_text text = {session->rsp.data + (command != '\0')};

	if (command == 'D') {
		answer_ok(session);
		return GDB_DETACHED;
	}
	if (command == 'k') {
		return GDB_KILLED;
	}
	if (session->is_running) {
		refuse(session, FAULT_ASKED);
		return GDB_GO_ON;
	}
	return halted_command(session, command, &text);
}
