/* SPDX-License-Identifier: Apache-2.0 */
/* What a loaded machine is told of being another one: whole microVMs on the scripted KVM. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fake/arch_fake.h"
#include "tests/fake/kvm_fake.h"
#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/persist/state_file.h"

enum {
	VMGENID = 0xdfff0, /* of the fake architecture */
	VMCLOCK = 0xde000,
	GSI_VMGENID = 14,
	GSI_VMCLOCK = 15,
};

static const char create[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}";
static const char load[] = "{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_path\":\"m\","
			   "\"backend_type\":\"File\"}}";
static char dir[] = "/tmp/squib-identity-XXXXXX";
static int lines[16]; /* eventfds by GSI */
static _Atomic bool had_run;

static int see_irqfd(int fd, unsigned long request, void *arg)
{
	const struct kvm_irqfd *irqfd = arg;

	(void)fd;
	(void)request;
	lines[irqfd->gsi % 16] = (int)irqfd->fd;
	return 0;
}

static void setup(void)
{
	kvm_fake_script(KVM_IRQFD, see_irqfd);
	api_bed_init();
	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
}

static void teardown(void)
{
	api_bed_destroy();
	cr_assert(chdir("/") == 0);

	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert(system(command) == 0); // NOLINT(cert-env33-c)
}

TestSuite(identity, .init = setup, .fini = teardown, .timeout = 60);

/* What the guest sees. */
struct sight {
	uint8_t id[16];
	uint64_t disruptions;
	uint64_t generation;
	uint64_t edges[2]; /* of the two interrupts; reading takes them */
};

static struct sight look(void)
{
	const struct gmem *mem = api_bed.microvm.controller.machine.mem;
	struct sight sight = {0};

	cr_assert(gmem_read(mem, GPA(VMGENID), sight.id, sizeof(sight.id)) == 0);
	cr_assert(gmem_read(mem, GPA(VMCLOCK + 16), &sight.disruptions, 8) == 0);
	cr_assert(gmem_read(mem, GPA(VMCLOCK + 104), &sight.generation, 8) == 0);
	(void)!eventfd_read(lines[GSI_VMGENID], &sight.edges[0]);
	(void)!eventfd_read(lines[GSI_VMCLOCK], &sight.edges[1]);
	return sight;
}

static void make_snapshot(void)
{
	api_bed_put_kernel();
	api_bed_expect("PUT /machine-config", "{\"vcpu_count\":1,\"mem_size_mib\":128}", NULL);
	api_bed_expect("PUT /actions", "{\"action_type\":\"InstanceStart\"}", NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
}

static void renew(void)
{
	api_bed_destroy();
	api_bed_init();
}

Test(identity, each_load_of_one_snapshot_is_another_machine)
{
	make_snapshot();
	struct sight saved = look();
	struct sight loaded[2];

	cr_expect(saved.generation == 0 && saved.disruptions == 0);
	cr_expect(saved.edges[0] == 0 && saved.edges[1] == 0, "a boot is no change");
	for (size_t i = 0; i < ARRAY_COUNT(loaded); i++) {
		renew();
		api_bed_expect("PUT /snapshot/load", load, NULL);
		loaded[i] = look();
		cr_expect(loaded[i].edges[0] == 1 && loaded[i].edges[1] == 1, "load %zu", i);
		cr_expect(loaded[i].generation == 1 && loaded[i].disruptions == 1, "load %zu", i);
		cr_expect(memcmp(loaded[i].id, saved.id, 16) != 0, "load %zu", i);
	}
	cr_expect(memcmp(loaded[0].id, loaded[1].id, 16) != 0);
}

Test(identity, a_machine_that_goes_on_after_a_save_is_the_same)
{
	make_snapshot();
	struct sight before = look();

	api_bed_expect("PATCH /vm", "{\"state\":\"Resumed\"}", NULL);
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
	api_bed_expect("PUT /snapshot/create", create, NULL);
	struct sight after = look();

	cr_expect(memcmp(&before, &after, sizeof(before)) == 0);
}

Test(identity, generations_are_counted_over_snapshots_of_snapshots)
{
	make_snapshot();
	for (uint64_t i = 1; i <= 3; i++) {
		renew();
		api_bed_expect("PUT /snapshot/load", load, NULL);
		cr_expect(look().generation == i);
		/* The guest's own writes do not come back. */
		cr_assert(gmem_write(api_bed.microvm.controller.machine.mem, GPA(VMCLOCK),
				     "hostile guest", 13) == 0);
		api_bed_expect("PUT /snapshot/create", create, NULL);
	}
}

/* Notes, at the first instruction, whether all was said. */
static int run(int fd, unsigned long request, void *arg)
{
	static uint64_t edges;

	(void)fd;
	(void)request;
	(void)arg;
	if (!had_run) {
		had_run = true;
		(void)!eventfd_read(lines[GSI_VMGENID], &edges);
		cr_assert(edges == 1);
		(void)!eventfd_read(lines[GSI_VMCLOCK], &edges);
		cr_assert(edges == 1);
	}
	usleep(1000);
	return 0;
}

Test(identity, all_is_told_before_the_first_instruction)
{
	make_snapshot();
	renew();
	kvm_fake_script(KVM_RUN, run);
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\",\"resume_vm\":true}",
		       NULL);
	for (int i = 0; i < 1000 && !had_run; i++) {
		usleep(1000);
	}
	cr_expect(had_run);
}

/* Its guest knows of neither. */
Test(identity, a_snapshot_from_before_there_was_a_generation_id_loads_silently)
{
	struct machine_state state = {0};
	struct error err = {0};

	make_snapshot();
	cr_assert(state_file_read("s", &state, &err) == 0, "%s", err.msg);
	state.has_vmgenid = state.has_vmclock = false;
	cr_assert(state_file_write(&state, "s", &err) == 0, "%s", err.msg);
	machine_state_destroy(&state);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	struct sight sight = look();

	cr_expect(sight.edges[0] == 0 && sight.edges[1] == 0);
}
