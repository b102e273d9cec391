/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted KVM for unit tests, in place of vmm/base/kvm_sys.c. */
#ifndef TESTS_FAKE_KVM_FAKE_H
#define TESTS_FAKE_KVM_FAKE_H

#include <stdbool.h>
#include <stddef.h>

/* Answers as ioctl does: >= 0, or -1 with errno. Called on the thread that issued the ioctl. */
typedef int (*kvm_fake_answer)(int fd, unsigned long request, void *arg);

struct kvm_fake_call {
	int fd;
	unsigned long request;
	unsigned long arg; /* the pointer or number as passed */
};

/*
 * Unscripted requests succeed: those that make a descriptor (CREATE_VM, CREATE_VCPU) return a real
 * one, so that a leak shows in /proc/self/fd; CHECK_EXTENSION says 1; GET_API_VERSION 12;
 * GET_MSR_INDEX_LIST has none; KVM_RUN waits for a signal or immediate_exit, as a guest that
 * computes would, and returns EINTR. criterion runs each test in a process of its own, so nothing
 * needs to be reset.
 */
void kvm_fake_script(unsigned long request, kvm_fake_answer answer);

/* Makes the `nth` (from 1) call of `request` from now on fail with `sys`, the others go on as
 * before; 0: none. */
void kvm_fake_fail(unsigned long request, unsigned nth, int sys);

/* All calls so far in order; at most 4096 are kept. */
size_t kvm_fake_calls(const struct kvm_fake_call **calls);

/* How often `request` was issued. */
unsigned kvm_fake_count(unsigned long request);

/* Index of the first (last) call of `request` in the order of all calls, or -1. */
int kvm_fake_first(unsigned long request);
int kvm_fake_last(unsigned long request);

/* The run area that was mapped for a vCPU descriptor, for scripted exits; NULL if none. */
struct kvm_run *kvm_fake_run_area(int vcpu);

/* Descriptors open in this process: a leak check. */
unsigned kvm_fake_open_fds(void);

#endif
