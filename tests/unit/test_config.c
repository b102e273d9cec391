/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/config.c. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/arch.h"
#include "tests/fake/kvm_fake.h"
#include "vmm/base/bytes.h"
#include "vmm/config.h"

Test(config, the_defaults_are_one_vcpu_and_128_mib)
{
	struct vm_config config;

	vm_config_init(&config);
	cr_expect_eq(config.machine.vcpu_count, 1);
	cr_expect_eq(config.machine.mem_size_mib, 128);
	cr_expect_not(config.machine.smt);
	cr_expect_eq(config.machine.huge_pages, HUGE_PAGES_NONE);
	cr_expect_null(config.boot_source.kernel_image_path);
	cr_expect_eq(config.boot_source.kernel_fd, -1);
	cr_expect_eq(config.boot_source.initrd_fd, -1);
	vm_config_destroy(&config);
}

#define VCPUS                                                                                      \
	"The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even "       \
	"number if SMT is enabled."
#define MEMORY "The memory size (MiB) is either 0, or not a multiple of the configured page size."

Test(config, a_machine_is_checked)
{
	static const struct {
		struct machine_config machine;
		const char *msg; /* NULL: fine */
	} cases[] = {
		{{.vcpu_count = 0, .mem_size_mib = 128}, VCPUS},
		{{.vcpu_count = 1, .mem_size_mib = 1}, NULL},
		{{.vcpu_count = 3, .mem_size_mib = 128}, NULL},
		{{.vcpu_count = 32, .mem_size_mib = 128}, NULL},
		{{.vcpu_count = 33, .mem_size_mib = 128}, VCPUS},
		{{.vcpu_count = 1, .mem_size_mib = 128, .smt = true}, NULL},
		{{.vcpu_count = 2, .mem_size_mib = 128, .smt = true}, NULL},
		{{.vcpu_count = 3, .mem_size_mib = 128, .smt = true}, VCPUS},
		{{.vcpu_count = 1, .mem_size_mib = 0}, MEMORY},
		{{.vcpu_count = 1, .mem_size_mib = 129}, NULL},
		{{.vcpu_count = 1, .mem_size_mib = 129, .huge_pages = HUGE_PAGES_2M}, MEMORY},
		{{.vcpu_count = 1, .mem_size_mib = 129, .huge_pages = HUGE_PAGES_TRANSPARENT},
		 MEMORY},
		{{.vcpu_count = 1, .mem_size_mib = 130, .huge_pages = HUGE_PAGES_2M}, NULL},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vm_config config;
		struct error err = {0};

		vm_config_init(&config);
		cr_expect_eq(vm_config_put_machine(&config, &cases[i].machine, &err),
			     cases[i].msg == NULL ? 0 : -1, "case %zu: %s", i, err.msg);
		if (cases[i].msg == NULL) {
			cr_expect_eq(config.machine.mem_size_mib, cases[i].machine.mem_size_mib);
			cr_expect_eq(config.machine.vcpu_count, cases[i].machine.vcpu_count);
		} else {
			cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
			cr_expect_eq(config.machine.mem_size_mib, 128, "case %zu", i);
			cr_expect_eq(config.machine.vcpu_count, 1, "case %zu", i);
		}
		vm_config_destroy(&config);
	}
}

/* A fresh file of 5 bytes; the caller unlinks `path`. */
static void make_file(char path[32])
{
	strcpy(path, "/tmp/squib-config-XXXXXX");

	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "12345", 5), 5);
	close(fd);
}

static struct boot_source_config source_of(const char *kernel, const char *initrd, const char *args)
{
	return (struct boot_source_config){
		.kernel_image_path = strdup(kernel),
		.initrd_path = initrd != NULL ? strdup(initrd) : NULL,
		.boot_args = args != NULL ? strdup(args) : NULL,
		.kernel_fd = -1,
		.initrd_fd = -1,
	};
}

static void free_source(struct boot_source_config *source)
{
	free(source->kernel_image_path);
	free(source->initrd_path);
	free(source->boot_args);
}

Test(config, a_boot_source_is_opened_and_taken_over)
{
	char path[32];
	struct vm_config config;
	struct error err = {0};
	unsigned fds = kvm_fake_open_fds();

	make_file(path);
	vm_config_init(&config);

	struct boot_source_config source = source_of(path, path, "console=ttyS0");

	cr_assert_eq(vm_config_put_boot_source(&config, &source, &err), 0, "%s", err.msg);
	cr_expect_null(source.kernel_image_path);
	cr_expect_null(source.initrd_path);
	cr_expect_null(source.boot_args);
	cr_expect_str_eq(config.boot_source.kernel_image_path, path);
	cr_expect_str_eq(config.boot_source.boot_args, "console=ttyS0");
	cr_expect_eq(config.boot_source.kernel_len, 5);
	cr_expect_eq(config.boot_source.initrd_len, 5);
	cr_expect_eq(kvm_fake_open_fds(), fds + 2);

	/* Another one without initrd replaces it whole. */
	source = source_of(path, NULL, NULL);
	cr_assert_eq(vm_config_put_boot_source(&config, &source, &err), 0, "%s", err.msg);
	cr_expect_null(config.boot_source.initrd_path);
	cr_expect_null(config.boot_source.boot_args);
	cr_expect_eq(config.boot_source.initrd_fd, -1);
	cr_expect_eq(config.boot_source.initrd_len, 0);
	cr_expect_eq(kvm_fake_open_fds(), fds + 1);

	vm_config_destroy(&config);
	cr_expect_eq(kvm_fake_open_fds(), fds);
	unlink(path);
}

static char long_args[ARCH_CMDLINE_MAX + 1]; /* one too long; one less fits */

Test(config, a_bad_boot_source_changes_nothing)
{
	char path[32];

	make_file(path);
	memset(long_args, 'x', ARCH_CMDLINE_MAX);

	const struct {
		const char *kernel;
		const char *initrd;
		const char *args;
		const char *msg;
	} cases[] = {
		{"/no/such/file", NULL, NULL,
		 "The kernel file cannot be opened: No such file or directory (os error 2)"},
		{"/tmp", NULL, NULL, "The kernel file cannot be opened: it is not a regular file"},
		{path, "/no/such/file", NULL,
		 "The initrd file cannot be opened due to invalid path or invalid permissions. "
		 "No such file or directory (os error 2)"},
		{path, path, "tab\there",
		 "The kernel command line is invalid: character 4 of boot_args is not printable "
		 "ASCII"},
		{path, NULL, "\xc3\xa9",
		 "The kernel command line is invalid: character 1 of boot_args is not printable "
		 "ASCII"},
		{path, NULL, "\x7f",
		 "The kernel command line is invalid: character 1 of boot_args is not printable "
		 "ASCII"},
		{path, NULL, long_args,
		 "The kernel command line is invalid: boot_args has 2048 characters, more than "
		 "the limit of 2047"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct vm_config config;
		struct error err = {0};
		unsigned fds = kvm_fake_open_fds();
		struct boot_source_config source =
			source_of(cases[i].kernel, cases[i].initrd, cases[i].args);

		vm_config_init(&config);
		cr_expect_eq(vm_config_put_boot_source(&config, &source, &err), -1, "case %zu", i);
		cr_expect_str_eq(err.msg, cases[i].msg, "case %zu: %s", i, err.msg);
		cr_expect_null(config.boot_source.kernel_image_path);
		cr_expect_str_eq(source.kernel_image_path, cases[i].kernel);
		cr_expect_eq(kvm_fake_open_fds(), fds, "case %zu leaks a descriptor", i);
		free_source(&source);
		vm_config_destroy(&config);
	}
	unlink(path);
}

Test(config, the_longest_command_line_is_fine)
{
	char path[32];
	struct vm_config config;
	struct error err = {0};

	make_file(path);
	memset(long_args, '~', ARCH_CMDLINE_MAX - 1);
	vm_config_init(&config);

	struct boot_source_config source = source_of(path, NULL, long_args);

	cr_expect_eq(vm_config_put_boot_source(&config, &source, &err), 0, "%s", err.msg);
	vm_config_destroy(&config);
	unlink(path);
}
