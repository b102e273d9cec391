/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel's way into guest memory.
 *
 * Theory of operation. KVM_CREATE_VM mostly waits for a kernel thread that it starts for the VM,
 * about 10 ms [kvm_vm_create_worker_thread in virt/kvm/kvm_main.c, Linux 6.1]. Copying a kernel
 * takes as long and needs guest memory alone, so a thread does it meanwhile. It ends before
 * the machine is complete, and before any thread is confined but the vCPUs', which confine
 * themselves. Where no thread can be had, such as at the limit of a cgroup, loading is just not
 * beside anything.
 */
#include "vmm/machine/loader.h"

#include "vmm/base/log.h"

static int load(const struct loader *loader, struct error *err)
{
	const struct boot_source *source = loader->source;
	struct boot_info *boot = loader->boot;

	if (arch_load_kernel(loader->mem, source->kernel_fd, source->kernel_len, boot, err) < 0) {
		return error_wrap(err, "Cannot load the kernel %s", source->kernel_path);
	}
	if (source->initrd_fd >= 0 && (arch_initrd_place(boot, source->initrd_len, err) < 0 ||
				       gmem_load_file(loader->mem, boot->initrd, source->initrd_fd,
						      0, source->initrd_len, err) < 0)) {
		return error_wrap(err, "Cannot load the initrd %s", source->initrd_path);
	}
	log_debug("Kernel loaded using %s", boot_protocol_name(boot->protocol));
	return 0;
}

static void *loader_main(void *arg)
{
	struct loader *loader = arg;

	loader->result = load(loader, &loader->err);
	return NULL;
}

void loader_start(struct loader *loader)
{
	loader->is_running = pthread_create(&loader->thread, NULL, loader_main, loader) == 0;
	if (!loader->is_running) {
		(void)loader_main(loader);
	}
}

void loader_cancel(struct loader *loader)
{
	if (loader->is_running) {
		pthread_join(loader->thread, NULL);
		loader->is_running = false;
	}
}

int loader_finish(struct loader *loader, struct error *err)
{
	loader_cancel(loader);
	if (loader->result < 0) {
		*err = loader->err;
	}
	return loader->result;
}
