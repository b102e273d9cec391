/* SPDX-License-Identifier: Apache-2.0 */
/* Validates and stores what the client asks for: the machine and what it boots. */
#include "vmm/config.h"

#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "vmm/base/fd.h"

/* Defaults of the machine [compat]. */
enum {
	DEFAULT_VCPU_COUNT = 1,
	DEFAULT_MEM_SIZE_MIB = 128
};

static const struct boot_source_config no_boot_source = {.kernel_fd = -1, .initrd_fd = -1};

static void boot_source_destroy(struct boot_source_config *source)
{
	free(source->kernel_image_path);
	free(source->initrd_path);
	free(source->boot_args);
	fd_close(&source->kernel_fd);
	fd_close(&source->initrd_fd);
	*source = no_boot_source;
}

void vm_config_init(struct vm_config *config)
{
	*config = (struct vm_config){
		.machine = {.vcpu_count = DEFAULT_VCPU_COUNT, .mem_size_mib = DEFAULT_MEM_SIZE_MIB},
		.boot_source = no_boot_source,
		.vsock = {.listener = -1},
	};
}

void vm_config_destroy(struct vm_config *config)
{
	boot_source_destroy(&config->boot_source);
	free(config->serial.serial_out_path);
	config->serial = (struct serial_sink_config){0};
	vm_config_destroy_devices(config);
}

/* --- The machine --- */

/* KVM on arm64 gives guests one thread per core. */
static bool has_smt(void)
{
	return strcmp(arch_name, "aarch64") != 0;
}

static bool is_vcpu_count_valid(const struct machine_config *machine)
{
	unsigned count = machine->vcpu_count;

	if (count < 1 || count > ARCH_VCPUS_MAX) {
		return false;
	}
	return !machine->smt || count == 1 || count % 2 == 0;
}

static bool is_mem_size_valid(const struct machine_config *machine)
{
	/* Both kinds of huge pages have 2 MiB. */
	uint64_t page_mib = machine->huge_pages == HUGE_PAGES_NONE ? 1 : 2;

	return machine->mem_size_mib > 0 && machine->mem_size_mib % page_mib == 0;
}

int vm_config_put_machine(struct vm_config *config, const struct machine_config *machine,
			  struct error *err)
{
	/* The sentences are Firecracker's to the letter, "less than 32" too [compat]. */
	if (machine->smt && !has_smt()) {
		return error_set(err, ERR_BAD_REQUEST,
				 "Enabling simultaneous multithreading is not supported on "
				 "aarch64.");
	}
	if (!is_vcpu_count_valid(machine)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The number of vCPUs must be greater than 0, less than 32 and "
				 "must be 1 or an even number if SMT is enabled.");
	}
	if (!is_mem_size_valid(machine)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The memory size (MiB) is either 0, or not a multiple of the "
				 "configured page size.");
	}
	if (config->has_balloon && machine->mem_size_mib < config->balloon.amount_mib) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The memory size (MiB) is smaller than the previously set balloon "
				 "device target size.");
	}
	config->machine = *machine;
	return 0;
}

/* --- The boot source --- */

/* `complaint` is Firecracker's, to which only the cause is added [compat]: no path. */
static int open_boot_file(const char *path, const char *complaint, int *fd, uint64_t *len,
			  struct error *err)
{
	struct error cause = {0};

	if (fd_open_file(path, "The file", fd, len, &cause) == 0) {
		return 0;
	}
	if (cause.sys == 0) {
		return error_set(err, ERR_BAD_REQUEST, "%s it is not a regular file", complaint);
	}
	return error_set(err, ERR_BAD_REQUEST, "%s %s (os error %d)", complaint,
			 error_os_text(cause.sys), cause.sys);
}

static int check_boot_args(const char *boot_args, struct error *err)
{
	size_t len = strlen(boot_args);

	if (len >= ARCH_CMDLINE_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The kernel command line is invalid: boot_args has %zu "
				 "characters, more than the limit of %d",
				 len, ARCH_CMDLINE_MAX - 1);
	}
	for (size_t i = 0; i < len; i++) {
		if (boot_args[i] < ' ' || boot_args[i] > '~') {
			return error_set(err, ERR_BAD_REQUEST,
					 "The kernel command line is invalid: character %zu of "
					 "boot_args is not printable ASCII",
					 i + 1);
		}
	}
	return 0;
}

int vm_config_put_boot_source(struct vm_config *config, struct boot_source_config *source,
			      struct error *err)
{
	AUTO_FD kernel_fd = -1;
	AUTO_FD initrd_fd = -1;
	uint64_t kernel_len = 0;
	uint64_t initrd_len = 0;

	if (open_boot_file(source->kernel_image_path,
			   "The kernel file cannot be opened:", &kernel_fd, &kernel_len, err) < 0) {
		return -1;
	}
	if (source->initrd_path != NULL &&
	    open_boot_file(source->initrd_path,
			   "The initrd file cannot be opened due to invalid path or invalid "
			   "permissions.",
			   &initrd_fd, &initrd_len, err) < 0) {
		return -1;
	}
	if (source->boot_args != NULL && check_boot_args(source->boot_args, err) < 0) {
		return -1;
	}

	boot_source_destroy(&config->boot_source);
	config->boot_source = (struct boot_source_config){
		.kernel_image_path = source->kernel_image_path,
		.initrd_path = source->initrd_path,
		.boot_args = source->boot_args,
		.kernel_fd = fd_take(&kernel_fd),
		.kernel_len = kernel_len,
		.initrd_fd = fd_take(&initrd_fd),
		.initrd_len = initrd_len,
	};
	*source = no_boot_source;
	return 0;
}

/* --- The serial port --- */

void vm_config_put_serial(struct vm_config *config, struct serial_sink_config *serial)
{
	free(config->serial.serial_out_path);
	config->serial = *serial;
	serial->serial_out_path = NULL;
}
