/* SPDX-License-Identifier: Apache-2.0 */
/* What tests need of the machine: clock, environment, KVM, /proc. */
#include "tests/lib/testbed.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void sleep_ms(unsigned ms)
{
	const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

const char *env(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

void base64(const char *text, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i += 3) {
		uint32_t word = (uint32_t)(unsigned char)text[i] << 16;

		word |= i + 1 < len ? (uint32_t)(unsigned char)text[i + 1] << 8 : 0;
		word |= i + 2 < len ? (uint32_t)(unsigned char)text[i + 2] : 0;
		*out++ = digits[word >> 18 & 63];
		*out++ = digits[word >> 12 & 63];
		*out++ = i + 1 < len ? digits[word >> 6 & 63] : '=';
		*out++ = i + 2 < len ? digits[word & 63] : '=';
	}
	*out = '\0';
}

bool is_x86(void)
{
	struct utsname name;

	return uname(&name) == 0 && strcmp(name.machine, "x86_64") == 0;
}

enum kvm_kind env_kvm_kind(void)
{
	const char *kvm = env("KVM_KIND");

	if (strcmp(kvm, "linux") == 0) {
		return KVM_LINUX;
	}
	return strcmp(kvm, "payload") == 0 ? KVM_PAYLOAD : KVM_NONE;
}

void payload_path(const char *name, char path[PATH_LEN])
{
	snprintf(path, PATH_LEN, "%.400s/%.64s.%s", env("GUEST_DIR"), name,
		 is_x86() ? "elf" : "img");
}

int exit_of(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
				      : KILLED_BY + WTERMSIG(wait_status);
}

/* --- /proc --- */

long proc_status_field(pid_t pid, const char *name)
{
	char path[64];
	char line[256];
	long value = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
			value = strtol(line + strlen(name) + 1, NULL, 10);
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	return value;
}

long proc_fd_count(pid_t pid)
{
	char path[64];
	long count = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);

	if (dir != NULL) {
		/* Less "." and "..". */
		for (count = -2; readdir(dir) != NULL; count++) {
		}
		closedir(dir);
	}
	return count;
}

long proc_smaps_kib(pid_t pid, const char *name)
{
	char path[64];
	char line[512];
	size_t len = strlen(name);
	long sum_kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, len) == 0 && line[len] == ':') {
			sum_kib += strtol(line + len + 1, NULL, 10);
		}
	}
	if (file == NULL) {
		return -1;
	}
	fclose(file);
	return sum_kib;
}

bool proc_smaps_flag(pid_t pid, const char *flag)
{
	char path[64];
	char line[512];
	char word[8];
	bool has_flag = false;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	snprintf(word, sizeof(word), " %.2s ", flag);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		has_flag |= strncmp(line, "VmFlags:", 8) == 0 && strstr(line, word) != NULL;
	}
	if (file != NULL) {
		fclose(file);
	}
	return has_flag;
}

long proc_own_kib(pid_t pid, unsigned guest_mib, const char *kind)
{
	char path[64];
	char line[512];
	char field[32];
	unsigned long begin = 0;
	unsigned long end = 0;
	long own_kib = 0;
	long kib;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	int name_len = snprintf(field, sizeof(field), "%s:", kind);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		(void)sscanf(line, "%lx-%lx ", &begin, &end);
		if (strncmp(line, field, (size_t)name_len) == 0 &&
		    sscanf(line + name_len, "%ld", &kib) == 1 &&
		    end - begin < (unsigned long)guest_mib << 20) {
			own_kib += kib;
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	return own_kib > 0 ? own_kib : -1;
}

bool proc_has_huge_room(pid_t pid, unsigned guest_mib, char *line, size_t len)
{
	const unsigned long huge = 2UL << 20;
	char path[64];
	bool has_room = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	FILE *file = fopen(path, "re");

	while (file != NULL && !has_room && fgets(line, (int)len, file) != NULL) {
		unsigned long begin = 0;
		unsigned long end = 0;
		char access[8] = "";

		has_room = sscanf(line, "%lx-%lx %7s ", &begin, &end, access) == 3 &&
			   strcmp(access, "rw-p") == 0 &&
			   (begin + huge - 1) / huge * huge + huge <= end &&
			   end - begin < (unsigned long)guest_mib << 20;
	}
	if (file != NULL) {
		fclose(file);
	}
	return has_room;
}

long proc_guest_mib(pid_t pid, unsigned guest_mib, long *dumped)
{
	char path[64];
	char line[512];
	long mib = 0; /* of the mapping, 0 if it can't be read */
	long all = 0;

	*dumped = 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		unsigned long begin;
		unsigned long end;
		char can_read;

		if (sscanf(line, "%lx-%lx %c", &begin, &end, &can_read) == 3) {
			mib = can_read == 'r' ? (long)((end - begin) >> 20) : 0;
		} else if (strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0 &&
			   mib >= (long)guest_mib) {
			all += mib;
			*dumped += strstr(line, " dd") != NULL ? 0 : mib;
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	return all > 0 ? all : -1;
}
