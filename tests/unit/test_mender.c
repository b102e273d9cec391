/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/machine/mender.c: a vCPU that is not given a page, and the VMM thread that mends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fake/kvm_fake.h"
#include "tests/lib/capture.h"
#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pmem.h"
#include "vmm/machine/mender.h"
#include "vmm/machine/vm.h"

static struct timeline timeline;
static struct vm vm;
static struct evloop loop;
static struct mender mender;
static struct gmem *mem;
static int file;
static _Atomic bool is_missing;	 /* whatever is mended */
static _Atomic bool is_unlooked; /* by KVM: no page is */
static _Atomic unsigned faults;
static _Atomic unsigned runs; /* that met no missing page */

/* As KVM: EFAULT where the file has no page. */
static int touch(int fd, unsigned long request, void *arg)
{
	struct kvm_run *run = kvm_fake_run_area(fd);

	(void)request;
	(void)arg;
	if (__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		errno = EINTR;
		return -1;
	}
	if (is_missing || (!is_unlooked && gmem_pmem_is_torn(mem))) {
		faults++;
		errno = EFAULT;
		return -1;
	}
	runs++;
	usleep(200);
	run->exit_reason = KVM_EXIT_INTR;
	return 0;
}

/* As KVM on x86 while the guest has interrupts on: a page that is missing keeps the vCPU. */
static int wait(int fd, unsigned long request, void *arg)
{
	const struct kvm_run *run = kvm_fake_run_area(fd);

	while (gmem_pmem_is_torn(mem) && !__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
		faults++;
		usleep(1000);
	}
	return touch(fd, request, arg);
}

static void begin(void)
{
	static const struct gmem_range ram = {{0}, MIB};
	struct error err = {0};
	unsigned index;

	file = memfd_create("file", MFD_CLOEXEC);
	cr_assert(ftruncate(file, 2 * MIB) == 0);
	const struct gmem_pmem_file described = {
		.name = "p", .fd = dup(file), .room = {{512 * GIB}, GIB}};

	cr_assert(gmem_new(&ram, 1, GMEM_ANON, &mem, &err) == 0);
	cr_assert(gmem_pmem_add(mem, &described, &index, &err) == 0, "%s", err.msg);
	const struct vm_params params = {
		.machine = {.vcpu_count = 2}, .mem = mem, .timeline = &timeline};

	kvm_fake_script(KVM_RUN, touch);
	cr_assert(evloop_init(&loop, &err) == 0 && vm_init(&vm, &params, &err) == 0, "%s", err.msg);
	cr_assert(mender_init(&mender, &vm, &loop, &err) == 0, "%s", err.msg);
	cr_assert(vm_start(&vm, &err) == 0, "%s", err.msg);
	vm_resume(&vm);
}

static void finish(void)
{
	vm_stop(&vm);
	mender_destroy(&mender);
	vm_destroy(&vm);
	evloop_destroy(&loop);
	gmem_free(mem);
}

TestSuite(mender, .init = begin, .fini = finish, .timeout = 30);

static void serve_until(bool (*condition)(void))
{
	struct error err = {0};

	while (!condition()) {
		cr_assert(evloop_run_once(&loop, 10, &err) == 0);
	}
}

static bool goes_on(void)
{
	return runs > 50;
}

/* By the event, behind which the reason is there. */
static bool has_ended(void)
{
	static bool is_told;
	eventfd_t count;

	is_told |= eventfd_read(vm.end_event, &count) == 0;
	return is_told;
}

Test(mender, a_guest_goes_on_over_a_file_that_is_cut_again_and_again)
{
	int log = capture_log(LOG_ERROR);

	for (unsigned round = 1; round <= 3; round++) {
		serve_until(goes_on);
		cr_assert(ftruncate(file, (off_t)(2 * MIB - (uint64_t)round * 64 * KIB)) == 0);
		runs = 0;
	}
	serve_until(goes_on);
	cr_expect(!has_ended() && faults > 0);
	cr_expect_eq(count_of(captured(log), "was cut"), 3, "%s", captured(log));
}

Test(mender, a_vcpu_that_is_not_told_of_a_cut_goes_on)
{
	int log = capture_log(LOG_ERROR);

	serve_until(goes_on);
	kvm_fake_script(KVM_RUN, wait);
	cr_assert(ftruncate(file, MIB) == 0);
	runs = 0;
	serve_until(goes_on);
	cr_expect(!has_ended());
	cr_expect_eq(count_of(captured(log), "was cut"), 1, "%s", captured(log));
}

/* As a KVM that interprets its guest: an access to a missing page is one to no memory. */
static struct {
	uint64_t offset;	/* in the file; set before `parts` */
	_Atomic unsigned parts; /* exits of one instruction, of 8 bytes each */
	_Atomic unsigned done;
} store;

static int interpret(int fd, unsigned long request, void *arg)
{
	struct kvm_run *run = kvm_fake_run_area(fd);

	if (fd != vm.vcpus[0].fd || store.done == store.parts) {
		return touch(fd, request, arg);
	}
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = 512 * GIB + store.offset + (uint64_t)store.done * 8;
	run->mmio.len = 8;
	run->mmio.is_write = 1;
	memset(run->mmio.data, 'a' + (int)store.done, sizeof(run->mmio.data));
	store.done++;
	return 0;
}

static void interpret_store(uint64_t offset, unsigned parts)
{
	serve_until(goes_on);
	cr_assert(ftruncate(file, MIB) == 0);
	store.offset = offset;
	store.parts = parts;
	kvm_fake_script(KVM_RUN, interpret);
}

static bool has_stored(void)
{
	return store.done == store.parts &&
	       atomic_load(&vm.vcpus[0].missed_state) == VCPU_MISSED_OWN && goes_on();
}

Test(mender, what_is_written_to_a_missing_page_by_interpretation_is_not_lost)
{
	int log = capture_log(LOG_WARN);
	char got[17] = "";

	interpret_store(MIB + 4096, 2);
	runs = 0;
	serve_until(has_stored);
	cr_expect(gmem_read(mem, GPA(512 * GIB + MIB + 4096), got, 16) == 0);
	cr_expect_str_eq(got, "aaaaaaaabbbbbbbb");
	cr_expect(!has_ended());
	cr_expect(strstr(captured(log), "Invalid MMIO") == NULL, "%s", captured(log));
}

/* Whoever goes on from a save or a fork knows nothing of it. */
Test(mender, what_was_written_to_a_missing_page_is_there_once_the_machine_is_paused)
{
	int log = capture_log(LOG_WARN);
	struct error err = {0};
	char got[17] = "";

	interpret_store(MIB + 4096, 2);
	while (atomic_load(&vm.vcpus[0].missed_state) != VCPU_MISSED_ASKED) {
		usleep(100);
	}
	cr_assert(vm_pause(&vm, &err) == 0, "%s", err.msg);
	mender_settle(&mender);
	cr_expect(gmem_read(mem, GPA(512 * GIB + MIB + 4096), got, 16) == 0);
	cr_expect_str_eq(got, "aaaaaaaabbbbbbbb");
	runs = 0;
	vm_resume(&vm);
	serve_until(has_stored);
	cr_expect(!has_ended());
	cr_expect(strstr(captured(log), "Invalid MMIO") == NULL, "%s", captured(log));
}

Test(mender, what_is_written_where_nothing_is_goes_nowhere)
{
	int log = capture_log(LOG_WARN);

	interpret_store(4 * MIB, 1);
	runs = 0;
	serve_until(has_stored);
	cr_expect(!has_ended());
	cr_expect(strstr(captured(log), "Invalid MMIO write @ 0x8000400000:0x8") != NULL, "%s",
		  captured(log));
}

/* A guest has such accesses for nothing, and each look fills holes of its files. */
Test(mender, an_access_where_nothing_is_has_no_file_looked_at)
{
	int log = capture_log(LOG_WARN);
	struct stat st;

	serve_until(goes_on);
	is_unlooked = true;
	kvm_fake_script(KVM_RUN, interpret);
	runs = 0;
	serve_until(goes_on);
	cr_assert(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * MIB) == 0);
	store.offset = 4 * MIB;
	store.parts = 1;
	runs = 0;
	serve_until(has_stored);
	cr_expect(fstat(file, &st) == 0 && st.st_blocks == 0, "%lld blocks",
		  (long long)st.st_blocks);
	cr_expect(strstr(captured(log), "Invalid MMIO write @ 0x8000400000:0x8") != NULL, "%s",
		  captured(log));
}

/* Such as on a bad sector. */
Test(mender, a_page_that_nothing_brings_ends_an_interpreted_guest)
{
	struct gmem_slot slot;

	serve_until(goes_on);
	slot = gmem_pmem_slot(mem, 0);
	cr_assert(mprotect((void *)slot.hva, 4096, PROT_NONE) == 0); // NOLINT
	store.parts = 1;
	kvm_fake_script(KVM_RUN, interpret);
	serve_until(has_ended);
	cr_expect(vm.end == VM_FAILED);
	cr_expect(strstr(vm.end_reason, "persistent memory at 0x8000000000 can't be reached") !=
			  NULL,
		  "%s", vm.end_reason);
}

Test(mender, a_page_that_nothing_brings_ends_the_guest)
{
	is_missing = true;
	serve_until(has_ended);
	cr_expect(vm.end == VM_FAILED);
	cr_expect(strstr(vm.end_reason, "KVM_RUN failed: Bad address (os error 14)") != NULL, "%s",
		  vm.end_reason);
}

/* All the mappings that a process may have, so that no other one can be split. */
static void use_up_mappings(void)
{
	FILE *limit = fopen("/proc/sys/vm/max_map_count", "re");
	long count = 0;

	cr_assert(limit != NULL && fscanf(limit, "%ld", &count) == 1); // NOLINT(cert-err34-c)
	(void)fclose(limit);
	size_t len = (size_t)count * 4096;
	char *room = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert(room != MAP_FAILED);
	for (size_t at = 0; at < len && mprotect(room + at, 4096, PROT_READ) == 0; at += 8192) {
	}
	/* One of those needs two more. */
	while (mmap(NULL, 4096, count++ % 2 == 0 ? PROT_READ : PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
	}
}

Test(mender, what_can_not_be_mended_is_looked_at_once)
{
	int log = capture_log(LOG_ERROR);

#ifdef __SANITIZE_THREAD__
	cr_skip_test("ThreadSanitizer ends where it finds no mapping for itself");
#endif
	serve_until(goes_on);
	use_up_mappings();
	is_missing = true; /* where the file was cut, which is not mended */
	cr_assert(ftruncate(file, MIB) == 0);
	serve_until(has_ended);
	cr_expect(vm.end == VM_FAILED);
	cr_expect_eq(count_of(captured(log), "Zeroes can't be put in place of pages"), 1, "%s",
		     captured(log));
	cr_expect_not(gmem_pmem_is_torn(mem) || gmem_pmem_watch(mem));
}

/* Nobody looks while the machine is paused, so its vCPUs park as they are. */
Test(mender, a_machine_is_paused_while_a_page_is_missing)
{
	struct error err = {0};

	serve_until(goes_on);
	is_missing = true;
	usleep(5000);
	cr_expect(vm_pause(&vm, &err) == 0, "%s", err.msg);
	is_missing = false;
	runs = 0;
	vm_resume(&vm);
	serve_until(goes_on);
	cr_expect(!has_ended());
}
