/* SPDX-License-Identifier: Apache-2.0 */
/* /boot-source: kernel, initrd and kernel command line. */
#include <string.h>

#include "arch/arch.h"
#include "vmm/base/fd.h"
#include "vmm/resources/resource.h"

static const struct schema_field fields[] = {
	SCHEMA_FIELD(struct boot_source_config, kernel_image_path, SCHEMA_REQUIRED),
	SCHEMA_FIELD(struct boot_source_config, initrd_path, SCHEMA_OPTIONAL),
	SCHEMA_FIELD(struct boot_source_config, boot_args, SCHEMA_OPTIONAL),
};

static const struct schema schema = SCHEMA("BootSourceConfig", struct boot_source_config, fields);

static const struct boot_source_config defaults = {.kernel_fd = -1, .initrd_fd = -1};

static void clear(struct vm_config *config)
{
	struct boot_source_config *source = &config->boot_source;

	if (source->kernel_image_path != NULL) {
		schema_free(&schema, source);
		fd_close(&source->kernel_fd);
		fd_close(&source->initrd_fd);
	}
	*source = defaults;
}

static json_t *show(const struct vm_config *config)
{
	return schema_encode(&schema, &config->boot_source, SCHEMA_ALL);
}

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

/* [compat] Any character is taken. */
static int check_boot_args(const char *boot_args, struct error *err)
{
	size_t len = strlen(boot_args);

	if (len >= ARCH_CMDLINE_MAX) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The kernel command line is invalid: boot_args has %zu "
				 "characters, more than the limit of %d",
				 len, ARCH_CMDLINE_MAX - 1);
	}
	return 0;
}

/* Opens what a boot reads. */
static int open_files(struct boot_source_config *source, int *kernel_fd, int *initrd_fd,
		      struct error *err)
{
	if (open_boot_file(source->kernel_image_path, "The kernel file cannot be opened:",
			   kernel_fd, &source->kernel_len, err) < 0) {
		return -1;
	}
	if (source->initrd_path == NULL) {
		return 0;
	}
	if (open_boot_file(source->initrd_path,
			   "The initrd file cannot be opened due to invalid path or invalid "
			   "permissions.",
			   initrd_fd, &source->initrd_len, err) < 0) {
		return -1;
	}
	if (source->initrd_len == 0) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The initrd file cannot be opened due to invalid path or invalid "
				 "permissions. it is empty: %s",
				 source->initrd_path);
	}
	return 0;
}

static int put(struct microvm *microvm, struct request *request, struct error *err)
{
	struct vm_config *config = &microvm->config;
	struct boot_source_config *source = request->body;
	AUTO_FD kernel_fd = -1;
	AUTO_FD initrd_fd = -1;

	if (!request->is_loaded && open_files(source, &kernel_fd, &initrd_fd, err) < 0) {
		return -1;
	}
	if (source->boot_args != NULL && check_boot_args(source->boot_args, err) < 0) {
		return -1;
	}
	clear(config);
	config->boot_source = *source;
	config->boot_source.kernel_fd = fd_take(&kernel_fd);
	config->boot_source.initrd_fd = fd_take(&initrd_fd);
	*source = defaults;
	return 0;
}

const struct resource boot_source_resource = {
	.path = {"boot-source"},
	.is_for_boot = true,
	.methods[HTTP_PUT] = {.states = BEFORE_START,
			      .body = BODY_JSON,
			      .schema = &schema,
			      .defaults = &defaults,
			      .prefix = "Boot source error",
			      .run = put,
			      PUTS(boot_source)},
	.key = "boot-source",
	.need = SCHEMA_REQUIRED,
	.turn = 5,
	.show = show,
	.clear = clear,
};
