/* SPDX-License-Identifier: Apache-2.0 */
/* The guests that squib is tested with: payloads of one property each, and Linux. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/guest_test.h"

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The VMM's thread and one for each of the test's four vCPUs. */
static const char *has_five_threads(pid_t pid)
{
	return proc_status_field(pid, "Threads") == 5 ? NULL : "there are not five threads";
}

/*
 * What the monitor itself needs: all that is resident but the guest's RAM, which is the one large
 * mapping. Input that no guest reads must not gather anywhere.
 */
static const char *is_small(pid_t pid)
{
	long own_kib = proc_own_kib(pid, 64, "Rss");

	if (own_kib < 0) {
		return "cannot read smaps";
	}
	return own_kib < 3072 ? NULL : "the monitor has more than 3 MiB resident";
}

/* The guest of 64 MiB. */
static const char *keeps_out_of_core_files(pid_t pid)
{
	long dumped;

	if (proc_guest_mib(pid, 64, &dumped) != 64) {
		return "the guest's memory is not found in smaps";
	}
	return dumped == 0 ? NULL : "core files would have the guest's memory";
}

/* The advice is on the guest's RAM, and the kernel followed it if the host lets it. */
static const char *has_transparent_pages(pid_t pid)
{
	char never[64] = "[never]";
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

	if (file != NULL) {
		(void)!fgets(never, sizeof(never), file);
		fclose(file);
	}
	if (file != NULL && !proc_smaps_flag(pid, "hg")) {
		return "huge pages are not asked for";
	}
	return strstr(never, "[never]") != NULL || proc_smaps_kib(pid, "AnonHugePages") > 0
		       ? NULL
		       : "there are no huge pages";
}

static const char *asks_for_no_transparent_pages(pid_t pid)
{
	return proc_smaps_flag(pid, "hg") ? "huge pages are asked for" : NULL;
}

#define INIT                                                                                       \
	{                                                                                          \
		EXPECT, "squib-guest: init reached", 0, NULL                                       \
	}
#define SAYS(words)                                                                                \
	{                                                                                          \
		EXPECT, words, 0, NULL                                                             \
	}
#define TYPE(words)                                                                                \
	{                                                                                          \
		SEND, words, 0, NULL                                                               \
	}
#define KILL(signo)                                                                                \
	{                                                                                          \
		SIGNAL, NULL, signo, NULL                                                          \
	}
#define ALIVE_FOR(ms)                                                                              \
	{                                                                                          \
		PAUSE, NULL, ms, NULL                                                              \
	}

/* Prints OK or the reason, since the guest's console would show the script's own text as well. */
#define VERDICT(test) "if " test "; then echo verd\"\"ict good; else echo verd\"\"ict bad; fi"

const struct guest_test guest_tests[] = {
	/* --- Linux: every way in --- */
	{
		.name = "our kernel boots, reboots and ends the process with 0",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.flags = "--level Debug",
		.run = "nproc",
		.end = "reboot",
		.steps = {SAYS("Kernel loaded using"), INIT, SAYS("\n1\r"),
			  SAYS("squib-guest: exit 0")},
	},
	{
		.name = "our kernel boots with threads that Landlock confines",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.vcpus = 2,
		.flags = "--landlock",
		.run = "nproc",
		.end = "reboot",
		.steps = {INIT, SAYS("\n2\r"), SAYS("squib-guest: exit 0")},
	},
	{
		.name = "an ELF kernel with a PVH note is entered by PVH",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.flags = "--level Debug",
		.end = "reboot",
		.steps = {SAYS("Kernel loaded using PVH boot protocol"), INIT},
	},
	{
		.name = "an ELF kernel without a PVH note is entered in 64-bit mode",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_ELF64,
		.flags = "--level Debug",
		.end = "reboot",
		.steps = {SAYS("Kernel loaded using Linux 64-bit boot protocol"), INIT},
	},
	{
		.name = "a bzImage is found by itself",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_BZIMAGE,
		.flags = "--level Debug",
		.end = "reboot",
		.steps = {SAYS("(bzImage)"), INIT},
	},
	{
		.name = "Debian's stock kernel boots as it is",
		.needs = KVM_LINUX,
		.kernel = STOCK_KERNEL,
		.mem_mib = 256,
		.run = "uname -r",
		.end = "reboot",
		.steps = {INIT, SAYS("squib-guest: exit 0")},
		.timeout_s = 180,
	},
	{
		.name = "Debian's stock kernel sees 4 CPUs",
		.needs = KVM_LINUX,
		.kernel = STOCK_KERNEL,
		.mem_mib = 256,
		.vcpus = 4,
		.run = VERDICT("[ $(nproc) = 4 ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
		.timeout_s = 240,
	},

	/* --- the machine's shape --- */
	{
		.name = "4 vCPUs are seen, with one thread each beside the VMM's",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.vcpus = 4,
		.run = VERDICT("[ $(nproc) = 4 ]") "; sleep 1",
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good"), {CHECK, NULL, 0, has_five_threads}},
	},
	{
		.name = "4 vCPUs have a device on a PCI bus, whose messages interrupt them",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.vcpus = 4,
		.flags = "--enable-pci",
		.more = "\"entropy\": {}",
		.run = VERDICT("[ $(head -c 64 /dev/hwrng | wc -c) = 64 ] && "
			       "grep -E '[1-9].*MSI.* virtio' /proc/interrupts"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
	},
	/*
	 * All at once are x86_64's: on an emulated aarch64, where a vCPU that waits for a lock does
	 * not leave its CPU to the one that has it, Linux may not get far with so many. There the
	 * first and the last one run.
	 */
	{
		.name = "32 vCPUs are seen",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.vcpus = 32,
		.mem_mib = 256,
		.run = VERDICT("[ $(nproc) = 32 ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
		.timeout_s = 600,
	},
	{
		.name = "32 vCPUs are seen, and the last one runs",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.vcpus = 32,
		.mem_mib = 256,
		.boot_args = "maxcpus=1",
		.run = VERDICT("[ $(cat /sys/devices/system/cpu/present) = 0-31 ] && "
			       "echo 1 >/sys/devices/system/cpu/cpu31/online && [ $(nproc) = 2 ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
		.timeout_s = 120,
	},
	{
		.name = "with SMT two threads share a core",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.vcpus = 4,
		.smt = true,
		.run = "cat /sys/devices/system/cpu/cpu*/topology/thread_siblings_list | sort -u",
		.end = "reboot",
		.steps = {INIT, SAYS("0-1"), SAYS("2-3")},
	},
	{
		.name = "64 MiB are enough, and are what the guest sees",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.mem_mib = 64,
		.run = "read -r x kib y </proc/meminfo; " VERDICT(
			"[ $kib -gt 30000 -a $kib -lt 65536 ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
	},
	{
		.name = "6 GiB are seen on both sides of the MMIO gap",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.mem_mib = 6144,
		.run = "read -r x kib y </proc/meminfo; " VERDICT("[ $kib -gt 6000000 ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
	},
	{
		.name = "the clocks run: kvm-clock or the Arm counter, and the date is today's",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.run = "cat /sys/devices/system/clocksource/*/current_clocksource; "
		       "a=$(date +%s); sleep 1; b=$(date +%s); " VERDICT(
			       "[ $a -gt 1700000000 -a $b -gt $a -a $b -lt $((a + 20)) ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
	},
	{
		.name = "the boot timer tells when init was reached, and the timeline",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.boot_args = "squib.boot_timer",
		.flags = "--boot-timer",
		.end = "reboot",
		.steps = {SAYS("Guest-boot-time = "), SAYS("Boot timeline (us): exec 0, main ")},
	},

	{
		.name = "Linux runs on transparent huge pages",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.huge_pages = "Transparent",
		.end = "hang",
		.steps = {INIT, {CHECK, NULL, 0, has_transparent_pages}, KILL(SIGTERM)},
		.exit_status = KILLED_BY + SIGTERM,
	},
	{
		.name = "1 vCPU and 32 MiB are enough for a shell",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.mem_mib = 32,
		.run = "read -r x kib y </proc/meminfo; " VERDICT("[ $kib -lt 32768 ]"),
		.end = "reboot",
		.steps = {INIT, SAYS("verdict good")},
	},

	/* --- the ways out --- */
	{
		.name = "a panic reboots, which ends the process with 0",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.end = "panic",
		.steps = {INIT, SAYS("Kernel panic")},
	},
	{
		.name = "power-off ends the process with 0",
		.needs = KVM_LINUX,
		.arch = AARCH64,
		.kernel = OWN_KERNEL,
		.end = "poweroff",
		.steps = {INIT},
	},
	{
		.name = "power-off ends the process with 0, and the log says so",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.end = "poweroff",
		.steps = {INIT, SAYS("The guest powered off.")},
	},
	{
		.name = "power-off of a stock kernel ends the process with 0",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = STOCK_KERNEL,
		.mem_mib = 256,
		.end = "poweroff",
		.timeout_s = 180,
		.steps = {INIT, SAYS("The guest powered off.")},
	},
	{
		.name = "noapic is warned of, and kills no guest",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.boot_args = "noapic",
		.end = "reboot",
		/* Without the serial port's interrupt only the kernel's own messages come out. */
		.steps = {SAYS("boot_args has noapic without acpi=off"),
			  SAYS("reboot: Restarting system")},
	},
	{
		.name = "a triple fault of Linux ends the process with 1 and says so",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.boot_args = "reboot=t",
		.end = "reboot",
		.steps = {INIT, SAYS("triple-faulted")},
		.exit_status = 1,
	},
	{
		.name = "SIGUSR1 presses Ctrl-Alt-Del, and Linux reboots",
		.needs = KVM_LINUX,
		.arch = X86_64,
		.kernel = OWN_KERNEL,
		.end = "hang",
		.steps = {INIT, ALIVE_FOR(500), KILL(SIGUSR1), SAYS("Restarting system")},
	},
	{
		.name = "SIGTERM ends the process by SIGTERM",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.end = "hang",
		.steps = {INIT, KILL(SIGTERM)},
		.exit_status = KILLED_BY + SIGTERM,
	},
	{
		.name = "SIGHUP ends the process with 156 and is logged",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.end = "hang",
		.steps = {INIT, KILL(SIGHUP), SAYS("intercepting signal 1,")},
		.exit_status = 156,
	},

	/* --- the console --- */
	{
		.name = "a shell on the console takes input",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.steps = {INIT, SAYS("guest# "), TYPE("echo $((40 + 2)) and\n"), SAYS("\n42 and"),
			  TYPE("exit\n")},
	},
	{
		.name = "Ctrl-C reaches what runs in the guest",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.steps = {INIT, SAYS("guest# "), TYPE("sleep 1000\n"), ALIVE_FOR(1500),
			  TYPE("\x03"), SAYS("guest# "), TYPE("reboot\n"),
			  SAYS("Restarting system")},
	},
	{
		.name = "input that nobody reads is bounded",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.end = "hang",
		.steps = {INIT,
			  {FLOOD, NULL, 8 << 20, NULL},
			  {CHECK, NULL, 0, is_small},
			  KILL(SIGTERM)},
		.exit_status = KILLED_BY + SIGTERM,
	},
	{
		.name = "a flood of output arrives whole",
		.needs = KVM_LINUX,
		.kernel = OWN_KERNEL,
		.run = "seq -w 1 1500; echo flood ends",
		.end = "reboot",
		.steps = {INIT, SAYS("0001\r"), SAYS("0800\r"), SAYS("1500\r"), SAYS("flood ends")},
		.never = "bytes of console output were dropped",
	},

	/* --- payloads: one property each, see the head of the file of that name in
	 * tests/guests/payload ---
	 */
	{
		.name = "payload hello: a guest prints and resets",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "hello",
		.steps = {SAYS("hello from the guest"), SAYS("exit_code=0")},
	},
	{
		.name = "payload cpus: 4 vCPUs are started by the guest",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "cpus",
		.vcpus = 4,
		.steps = {SAYS("cpus: 4 of 4 run")},
	},
	{
		.name = "payload cpus: 32 vCPUs are started by the guest",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "cpus",
		.vcpus = 32,
		.steps = {SAYS("cpus: 32 of 32 run")},
		.timeout_s = 180,
	},
	{
		.name = "payload cpus: with SMT all 16 threads are started by the guest",
		.needs = KVM_PAYLOAD,
		.arch = X86_64,
		.kernel = PAYLOAD,
		.payload = "cpus",
		.vcpus = 16,
		.smt = true,
		.steps = {SAYS("cpus: 16 of 16 run")},
		.timeout_s = 120,
	},
	{
		.name = "payload cpus: one vCPU is alone",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "cpus",
		.steps = {SAYS("cpus: 1 of 1 run")},
	},
	{
		.name = "payload idle: transparent huge pages are asked for and there",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "idle",
		.huge_pages = "Transparent",
		.steps = {SAYS("idle: ready"),
			  {CHECK, NULL, 0, has_transparent_pages},
			  KILL(SIGTERM)},
		.exit_status = KILLED_BY + SIGTERM,
	},
	{
		.name = "payload idle: without them nobody asks for huge pages",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "idle",
		.steps = {SAYS("idle: ready"),
			  {CHECK, NULL, 0, asks_for_no_transparent_pages},
			  KILL(SIGTERM)},
		.exit_status = KILLED_BY + SIGTERM,
	},
	{
		.name = "payload memory: 6 MiB are there to the last byte",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "memory",
		.mem_mib = 6,
		.steps = {SAYS("memory: "), SAYS(" MiB ok")},
	},
	{
		.name = "payload memory: 1 MiB is refused, for the kernel does not fit",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "memory",
		.mem_mib = 1,
		.steps = {SAYS("Cannot load the kernel")},
		.exit_status = 1,
	},
	{
		.name = "payload memory: one MiB beyond the gap is there",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "memory",
		.mem_mib = 3073,
		.steps = {SAYS("memory: "), SAYS(" MiB ok")},
	},
	{
		.name = "payload memory: 64 MiB are there to the last byte",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "memory",
		.mem_mib = 64,
		.steps = {SAYS("memory: "), SAYS(" MiB ok")},
	},
	{
		.name = "payload memory: 6 GiB are there to the last byte",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "memory",
		.mem_mib = 6144,
		.steps = {SAYS("memory: "), SAYS(" MiB ok")},
	},
	{
		.name = "payload registers: every register bears every width",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "registers",
		.flags = "--boot-timer",
		.steps = {SAYS("registers: ok")},
	},
	{
		.name = "payload strings: string I/O moves each element",
		.needs = KVM_PAYLOAD,
		.arch = X86_64,
		.kernel = PAYLOAD,
		.payload = "strings",
		.steps = {SAYS("strings: out"), SAYS("strings: in ok")},
	},
	{
		.name = "payload triple: a triple fault is exit 1 and says so",
		.needs = KVM_PAYLOAD,
		.arch = X86_64,
		.kernel = PAYLOAD,
		.payload = "triple",
		.steps = {SAYS("triple: faulting"), SAYS("triple-faulted")},
		.exit_status = 1,
	},
	{
		.name = "payload badinsn: what KVM can't emulate is named with its bytes",
		.needs = KVM_PAYLOAD,
		.arch = X86_64,
		.kernel = PAYLOAD,
		.payload = "badinsn",
		.steps = {SAYS("badinsn: storing"), SAYS("can't emulate"), SAYS("df 38")},
		.exit_status = 1,
	},

	{
		.name = "payload echo: input reaches the guest byte by byte",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "echo",
		.steps = {SAYS("echo: ready"), TYPE("hello q"), SAYS("hello q")},
	},
	{
		.name = "payload echo: core files are without the guest's memory",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "echo",
		.mem_mib = 64,
		.steps = {SAYS("echo: ready"),
			  {CHECK, NULL, 0, keeps_out_of_core_files},
			  TYPE("q")},
	},
	{
		.name = "payload flood: output arrives whole",
		.needs = KVM_PAYLOAD,
		.kernel = PAYLOAD,
		.payload = "flood",
		.steps = {SAYS("flood 00000"), SAYS("flood 00255"), SAYS("flood: done")},
	},

	/* --- images that are none: no KVM is needed to refuse the files --- */
	{
		.name = "a kernel path that does not exist is one sentence and exit 1",
		.needs = KVM_NONE,
		.kernel = NO_KERNEL,
		.steps = {SAYS("The kernel file cannot be opened"),
			  SAYS("No such file or directory (os error 2)")},
		.exit_status = 1,
	},
	{
		.name = "a truncated ELF kernel is refused",
		.needs = KVM_PAYLOAD,
		.arch = X86_64,
		.kernel = DAMAGED_OWN,
		.cut = 300000,
		.steps = {SAYS("Cannot load the kernel")},
		.exit_status = 1,
	},
	{
		.name = "a truncated bzImage or Image is refused",
		.needs = KVM_PAYLOAD,
		.kernel = DAMAGED_STOCK,
		.cut = 300000,
		.steps = {SAYS("Cannot load the kernel")},
		.exit_status = 1,
	},
	{
		.name = "an empty kernel is refused",
		.needs = KVM_PAYLOAD,
		.kernel = DAMAGED_OWN,
		.cut = 0,
		.steps = {SAYS("Cannot load the kernel")},
		.exit_status = 1,
	},
	{
		.name = "a program that is no kernel is refused",
		.needs = KVM_PAYLOAD,
		.kernel = FOREIGN,
		.steps = {SAYS("Cannot load the kernel")},
		.exit_status = 1,
	},
};

const size_t guest_test_count = ARRAY_COUNT(guest_tests);
