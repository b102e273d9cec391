/* SPDX-License-Identifier: Apache-2.0 */
/* The three system calls through which all of squib reaches KVM. */
#include "vmm/base/kvm_sys.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int kvm_sys_open(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC);
}

int kvm_sys_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

void *kvm_sys_mmap(int fd, size_t len)
{
	void *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return area == MAP_FAILED ? NULL : area;
}

void kvm_sys_munmap(void *addr, size_t len)
{
	munmap(addr, len);
}
