/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between squib and the kernel's KVM: three system calls, which tests replace as a whole.
 */
#ifndef VMM_BASE_KVM_SYS_H
#define VMM_BASE_KVM_SYS_H

#include <stddef.h>

/* Each returns as the system call does: a value >= 0, or -1 with errno. kvm_sys_mmap: NULL, errno.
 */
int kvm_sys_open(const char *path);
int kvm_sys_ioctl(int fd, unsigned long request, void *arg);
void *kvm_sys_mmap(int fd, size_t len);
void kvm_sys_munmap(void *addr, size_t len);

#endif
