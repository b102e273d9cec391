/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the files of snapshots: of Diffs alone, merged and in place; behind links. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/api_bed.h"
#include "vmm/base/fd.h"

static char dir[] = "/tmp/squib-layer-XXXXXX";

static const char create[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}";
static const char diff[] = "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\","
			   "\"snapshot_type\":\"Diff\"}";
static const char load[] = "{\"snapshot_path\":\"s\",\"mem_backend\":{\"backend_path\":\"m\","
			   "\"backend_type\":\"File\"}}";

static void set_up(void)
{
	api_bed_init();
	cr_assert(mkdtemp(dir) != NULL && chdir(dir) == 0);
}

static void tear_down(void)
{
	static const char *const files[] = {"s", "m", "base", "behind_s", "behind_m"};

	api_bed_destroy();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)unlink(files[i]);
	}
	cr_assert(chdir("/") == 0 && rmdir(dir) == 0);
}

TestSuite(snapshot_files, .init = set_up, .fini = tear_down, .timeout = 120);

/* A paused machine. */
static void start(bool is_tracked)
{
	char body[128];

	(void)snprintf(body, sizeof(body),
		       "{\"vcpu_count\":1,\"mem_size_mib\":128,\"track_dirty_pages\":%s}",
		       is_tracked ? "true" : "false");
	api_bed_expect("PUT /machine-config", body, NULL);
	api_bed_start();
	api_bed_expect("PATCH /vm", "{\"state\":\"Paused\"}", NULL);
}

/* The process of a machine ends, and the next one begins. */
static void renew(void)
{
	api_bed_destroy();
	api_bed_init();
}

static void expect_refusal(const char *line, const char *body, const char *text)
{
	struct http_response response = api_bed_request(line, body);

	cr_expect(response.status == 400 && strstr(response.body, text) != NULL, "%u %s",
		  response.status, response.body);
	free(response.body);
}

static void write_page(unsigned page, const char *text)
{
	struct gmem *mem = api_bed.microvm.controller.machine.mem;

	cr_assert(gmem_write(mem, GPA((uint64_t)page * 4096), text, strlen(text)) == 0);
}

/* Into "base", what is in "m" of one page. */
static void merge_page(unsigned page)
{
	AUTO_FD layer = open("m", O_RDONLY);
	AUTO_FD base = open("base", O_WRONLY);
	char bytes[4096];

	cr_assert(pread(layer, bytes, sizeof(bytes), page * 4096L) == sizeof(bytes));
	cr_assert(pwrite(base, bytes, sizeof(bytes), page * 4096L) == sizeof(bytes));
}

Test(snapshot_files, a_layer_alone_is_not_the_memory_and_merged_it_is)
{
	start(true);
	write_page(0, "base");
	write_page(1, "base, and changed");
	write_page(2, "base");
	api_bed_expect("PUT /snapshot/create", create, NULL);
	cr_assert(rename("m", "base") == 0);
	write_page(1, "changed");
	write_page(3, "layer");
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	renew();

	struct api_bed_mark before = api_bed_mark();

	expect_refusal("PUT /snapshot/load", load,
		       "m is not the whole memory: the guest has something at offset 8192, and");
	expect_refusal("PUT /snapshot/load", load,
		       "snapshot-editor edit-memory rebase --memory-path BASE --diff-path LAYER");
	api_bed_expect_same(&before, "a layer");
	merge_page(1);
	merge_page(3);
	cr_assert(rename("base", "m") == 0);
	api_bed_expect("PUT /snapshot/load", load, NULL);
}

Test(snapshot_files, a_layer_of_a_loaded_machine_is_told_from_its_memory_too)
{
	start(false);
	write_page(1, "base");
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	write_page(3, "layer");
	cr_assert(rename("m", "base") == 0);
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	renew();
	expect_refusal("PUT /snapshot/load", load, "m is not the whole memory");
}

/* Of a file that it may only read, the kernel tells nobody what is in the page cache. */
Test(snapshot_files, a_diff_is_refused_where_a_file_of_another_user_was_cut)
{
	const uid_t nobody = 65534;

	if (geteuid() != 0) {
		cr_skip_test("only root has files of two users");
	}
	start(false);
	write_page(9, "base");
	api_bed_expect("PUT /snapshot/create", create, NULL);
	renew();
	cr_assert(chmod(".", 0755) == 0 && chmod("s", 0444) == 0 && chmod("m", 0444) == 0);
	cr_assert(seteuid(nobody) == 0);
	api_bed_expect("PUT /snapshot/load",
		       "{\"snapshot_path\":\"s\",\"track_dirty_pages\":true,\"mem_backend\":"
		       "{\"backend_path\":\"m\",\"backend_type\":\"File\"}}",
		       NULL);
	write_page(3, "layer");
	cr_assert(seteuid(0) == 0 && truncate("m", 4096) == 0 && seteuid(nobody) == 0);
	expect_refusal("PUT /snapshot/create", diff, "was cut to 4096 bytes");
	cr_assert(seteuid(0) == 0);
}

/* What a client of Firecracker may load without another word. */
Test(snapshot_files, a_diff_that_is_all_there_is_or_was_written_into_its_base_is_whole)
{
	start(true);
	write_page(1, "first");
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	renew();
	cr_assert(unlink("m") == 0);
	start(false);
	write_page(1, "base");
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	write_page(3, "in place");
	api_bed_expect("PUT /snapshot/create", diff, NULL);
	renew();
	api_bed_expect("PUT /snapshot/load", load, NULL);
	char text[4] = "";

	cr_assert(gmem_read(api_bed.microvm.controller.machine.mem, GPA(4096), text, 4) == 0);
	cr_expect(memcmp(text, "base", 4) == 0);
}

/* It is a link still, and nothing of a save is behind it. */
static void expect_link(const char *name, const char *target)
{
	char text[16] = "";
	struct stat st;

	cr_expect(readlink(name, text, sizeof(text) - 1) > 0 && strcmp(text, target) == 0);
	cr_expect(stat(target, &st) == 0 && st.st_size == 0);
}

Test(snapshot_files, a_save_that_fails_leaves_links_that_lead_nowhere)
{
	const struct rlimit limit = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};

	start(false);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert(symlink("behind_m", "m") == 0 && symlink("behind_s", "s") == 0);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	expect_refusal("PUT /snapshot/create", create, "(os error 27)");
	expect_link("m", "behind_m");
	cr_expect(access("behind_s", F_OK) < 0, "it was not its turn");
	expect_refusal("PUT /snapshot/create", "{\"snapshot_path\":\"s\"}", "(os error 27)");
	expect_link("s", "behind_s");
}
