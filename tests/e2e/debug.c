/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debian's gdb ($GDB) with a payload guest and with Linux: each session is a list of commands, and
 * of what gdb has to print for them.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/guest_test.h"

enum {
	GDB_PATIENCE_MS = 120000
};

/* What a line needs of the KVM or the processor. */
enum needs {
	ANY,
	BREAK,	  /* breakpoints: hardware ones also where squib takes them for software ones */
	NO_BREAK, /* that there are none */
	WATCH,	  /* watchpoints */
	NO_WATCH, /* breakpoints without watchpoints */
	X86,
	ARM,
};

/* QEMU emulates an AMD processor whose guests' debug registers and INT3 reach no hypervisor. */
static bool is_emulated_amd(void)
{
	static int emulated = -1;

	if (emulated < 0) {
		FILE *file = fopen("/proc/cpuinfo", "re");
		char line[256];

		emulated = 0;
		while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
			emulated |= strstr(line, "QEMU TCG") != NULL;
		}
		if (file != NULL) {
			fclose(file);
		}
	}
	return emulated && is_x86();
}

/* A KVM that interprets guests knows hardware breakpoints and steps alone. */
static bool has(enum needs needs)
{
	const bool has_break = env_kvm_kind() != KVM_LINUX || !is_emulated_amd();
	const bool has_watch = env_kvm_kind() == KVM_LINUX && has_break;

	switch (needs) {
	case BREAK:
		return has_break;
	case NO_BREAK:
		return !has_break;
	case WATCH:
		return has_watch;
	case NO_WATCH:
		return has_break && !has_watch;
	case X86:
		return is_x86();
	case ARM:
		return !is_x86();
	case ANY:
		break;
	}
	return true;
}

/* A command, and texts that follow each other in what gdb says, from where the last one ended. */
struct line {
	const char *command;
	const char *says; /* NULL: nothing in particular */
	enum needs needs;
};

static bool write_script(struct squib *squib, const struct line *lines, size_t count)
{
	char script[4096] = "set pagination off\nset confirm off\n";
	size_t len = strlen(script);

	for (size_t i = 0; i < count; i++) {
		if (has(lines[i].needs)) {
			len += (size_t)snprintf(script + len, sizeof(script) - len, "%s\n",
						lines[i].command);
		}
	}
	return len < sizeof(script) ? squib_write(squib, "script", script)
				    : squib_fail(squib, "the script for gdb is too long");
}

static bool run_gdb(struct squib *squib, const char *symbols)
{
	char command[3 * PATH_LEN];
	const uint64_t until = now_ms() + GDB_PATIENCE_MS;
	int status;

	snprintf(command, sizeof(command),
		 "cd %.400s && exec %.400s -nx -q -batch %.400s -x script >said 2>&1", squib->dir,
		 env("GDB"), symbols);
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > until) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			squib_show(squib, "said");
			return squib_fail(squib, "gdb goes on for ever");
		}
		sleep_ms(20);
	}
	return true;
}

static bool session(struct squib *squib, const char *symbols, const struct line *lines,
		    size_t count)
{
	if (!write_script(squib, lines, count) || !run_gdb(squib, symbols)) {
		return false;
	}
	char *said = squib_text(squib, "said");
	const char *at = said;

	for (size_t i = 0; i < count && at != NULL; i++) {
		if (has(lines[i].needs) && lines[i].says != NULL) {
			at = strstr(at, lines[i].says);
			at = at != NULL ? at + strlen(lines[i].says) : NULL;
		}
		if (at == NULL) {
			squib_show(squib, "said");
			squib_fail(squib, "gdb does not say \"%s\" for %s", lines[i].says,
				   lines[i].command);
		}
	}
	bool is_good = at != NULL;

	free(said);
	return is_good;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- A payload, from its first instruction to its end --- */

/* A session with a payload of two vCPUs. */
static bool play(struct squib *squib, const char *payload, const struct line *lines, size_t count)
{
	char kernel[PATH_LEN];
	char symbols[PATH_LEN];

	payload_path(payload, kernel);
	snprintf(symbols, sizeof(symbols), "%.400s/%s.elf", env("GUEST_DIR"), payload);
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
			 kernel) &&
	       squib_put(squib, "/machine-config",
			 "{\"vcpu_count\": 2, \"mem_size_mib\": 64, \"gdb_socket_path\": "
			 "\"gdb.sock\"}") &&
	       squib_api_start(squib, 204) && session(squib, symbols, lines, count);
}

bool debug_payload_test(struct squib *squib)
{
	static const struct line lines[] = {
		{"target remote gdb.sock", NULL, ANY},
		{"info threads", "* 1    Thread 1 (vCPU 0)", ANY},
		{"", "  2    Thread 2 (vCPU 1)", ANY},
		{"set $before = $pc", NULL, ANY},
		{"stepi", NULL, ANY},
		{"p $pc != $before", " = 1", ANY},
		{"p $eflags", " = [ ", X86},
		{"p $mxcsr", " = [ IM DM ZM OM UM PM ]", X86},
		{"p $xmm0.v4_float", " = {0, 0, 0, 0}", X86},
		{"p $cpsr", " = [ ", ARM},
		{"p $v0.s.f", " = {0, 0, 0, 0}", ARM},
		{"p/x $mxcsr = 0x1fa0", NULL, X86},
		{"maintenance flush register-cache", NULL, X86},
		{"p/x $mxcsr", " = 0x1fa0", X86},
		{"hbreak tick", "Hardware assisted breakpoint 1 at", BREAK},
		{"continue", "Thread 1 hit Breakpoint 1, tick (by=by@entry=1)", BREAK},
		{"backtrace", "#1 ", BREAK},
		{"", "in guest_main ()", BREAK},
		{"info symbol $pc", "tick in section .text", BREAK},
		{"p debug_count", " = 0", BREAK},
		{"continue", "Thread 1 hit Breakpoint 1, tick", BREAK},
		{"p debug_count", " = 1", BREAK},
		{"delete", NULL, ANY},
		{"watch debug_count", "Hardware watchpoint 2: debug_count", WATCH},
		{"continue", "Old value = 1\nNew value = 2", WATCH},
		{"delete", NULL, ANY},
		{"break tick", "Breakpoint ", BREAK},
		{"continue", ", tick (by=", BREAK},
		{"x/1xb $pc", NULL, ANY},
		{"delete", NULL, ANY},
		{"p debug_count = 10", " = 10", ANY},
		{"p debug_count", " = 10", ANY},
		{"thread 2", "[Switching to thread 2 (Thread 2)]", ANY},
		{"p $pc", NULL, ANY},
		/* What gdb can't have is refused before the guest goes on. */
		{"break tick", NULL, NO_BREAK},
		{"continue", "Cannot insert breakpoint 1", NO_BREAK},
		{"watch debug_count", NULL, NO_WATCH},
		{"continue", "Could not insert hardware watchpoint", NO_WATCH},
		{"detach", "detached]", ANY},
	};
	/* What is left of five rounds when ten was set between two of them. */
	const char *end = has(BREAK) ? "counted to 13" : "counted to ";

	return play(squib, "debug", lines, COUNT(lines)) && squib_expect(squib, end, NULL) &&
	       squib_ends(squib, 0);
}

/* Only x86_64 has a payload that can't go on. */
bool debug_end_test(struct squib *squib)
{
	static const struct line lines[] = {
		{"target remote gdb.sock", NULL, ANY},
		{"continue", "exited normally]", ARM},
		{"continue", "vCPU 0 stopped: the guest triple-faulted", X86},
		{"", "exited with code 01]", X86},
	};

	return play(squib, is_x86() ? "triple" : "hello", lines, COUNT(lines)) &&
	       squib_ends(squib, is_x86() ? 1 : 0);
}

/* --- Linux: from its start, and while it runs --- */

static bool start_linux(struct squib *squib)
{
	return squib_serve(squib, NULL) &&
	       squib_put(squib, "/boot-source",
			 "{\"kernel_image_path\": \"%.400s/%s\", \"initrd_path\": "
			 "\"%.400s/initrd.cpio\", \"boot_args\": \"console=ttyS0 quiet reboot=k "
			 "panic=1 "
			 "nomodule nokaslr\"}",
			 env("KERNEL_DIR"), is_x86() ? "vmlinux" : "Image", env("IMAGE_DIR")) &&
	       squib_put(squib, "/machine-config",
			 "{\"vcpu_count\": 1, \"mem_size_mib\": 128, \"gdb_socket_path\": "
			 "\"gdb.sock\"}") &&
	       squib_api_start(squib, 204);
}

bool debug_linux_test(struct squib *squib)
{
	static const struct line from_start[] = {
		{"target remote gdb.sock", NULL, ANY},
		{"stepi", NULL, ANY},
		{"hbreak start_kernel", "Hardware assisted breakpoint 1 at", BREAK},
		{"", "init/main.c, line ", BREAK},
		{"continue", "Breakpoint 1, start_kernel () at ", BREAK},
		{"backtrace", "#0  start_kernel () at ", BREAK},
		{"", "init/main.c:", BREAK},
		{"p system_state", " = SYSTEM_BOOTING", BREAK},
		{"info locals", "command_line = ", BREAK},
		{"x/s linux_banner", "\"Linux version ", BREAK},
		{"next", "init/main.c", BREAK},
		{"delete", NULL, ANY},
		{"watch system_state", "Hardware watchpoint 2: system_state", WATCH},
		{"continue", "Old value = SYSTEM_BOOTING\nNew value = SYSTEM_SCHEDULING", WATCH},
		{"", "rest_init () at ", WATCH},
		{"delete", NULL, ANY},
		{"break kernel_init", "Breakpoint 3 at", BREAK},
		{"continue", "Breakpoint 3, kernel_init (unused=", BREAK},
		{"stepi", "init/main.c", BREAK}, /* not in the timer's interrupt */
		{"delete", NULL, ANY},
		{"detach", "detached]", ANY},
	};
	static const struct line later[] = {
		{"target remote gdb.sock", NULL, ANY},
		{"info threads", "* 1    Thread 1 (vCPU 0)", ANY},
		{"x/s linux_banner", "\"Linux version ", ANY},
		{"set $before = *(unsigned long *)&jiffies_64", NULL, ANY},
		{"p $before != 0", " = 1", ANY},
		{"p system_state", " = SYSTEM_RUNNING", ANY},
		{"p saved_command_line", "console=ttyS0 quiet reboot=k", ANY},
		{"stepi", NULL, ANY},
		{"p $pc", NULL, ANY},
		{"detach", "detached]", ANY},
	};
	char symbols[PATH_LEN];

	snprintf(symbols, sizeof(symbols), "%.400s/vmlinux.debug", env("KERNEL_DIR"));

	return start_linux(squib) && session(squib, symbols, from_start, COUNT(from_start)) &&
	       squib_expect(squib, "squib-guest: init reached", NULL) &&
	       session(squib, symbols, later, COUNT(later)) &&
	       session(squib, symbols, later, COUNT(later)) && squib_ask(squib, "nproc\n", "\n1") &&
	       squib_type(squib, "reboot -f\n") && squib_ends(squib, 0);
}
