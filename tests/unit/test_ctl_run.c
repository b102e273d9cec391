/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of squibctl run: words, sizes, names, archives, layouts. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/squibctl/ctl_image.h"
#include "tools/squibctl/ctl_images.h"
#include "tools/squibctl/ctl_machine.h"
#include "tools/squibctl/ctl_net.h"
#include "tools/squibctl/ctl_newc.h"
#include "tools/squibctl/ctl_oci.h"
#include "tools/squibctl/ctl_run.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

/* --- words --- */

static const struct {
	const char *config;
	const char *entrypoint;
	const char *words[3];
	const char *made;
} commands[] = {
	{"{\"Cmd\":[\"a\",\"b\"]}", NULL, {NULL}, "[\"a\",\"b\"]"},
	{"{\"Cmd\":[\"a\",\"b\"]}", NULL, {"c"}, "[\"c\"]"},
	{"{\"Entrypoint\":[\"e\"],\"Cmd\":[\"a\"]}", NULL, {NULL}, "[\"e\",\"a\"]"},
	{"{\"Entrypoint\":[\"e\"],\"Cmd\":[\"a\"]}", NULL, {"c", "d"}, "[\"e\",\"c\",\"d\"]"},
	{"{\"Entrypoint\":[\"e\"],\"Cmd\":[\"a\"]}", "f", {NULL}, "[\"f\"]"},
	{"{\"Entrypoint\":[\"e\"],\"Cmd\":[\"a\"]}", "f", {"c"}, "[\"f\",\"c\"]"},
	{"{}", NULL, {"c"}, "[\"c\"]"},
};

Test(ctl_run, a_command_is_made_of_image_and_words_as_docker_does)
{
	for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
		json_t *config = json_loads(commands[i].config, 0, NULL);
		json_t *made = ctl_run_words(config, commands[i].entrypoint, commands[i].words);
		AUTO_FREE char *text = json_dumps(made, JSON_COMPACT);

		cr_expect_str_eq(text, commands[i].made);
		json_decref(made);
		json_decref(config);
	}
	cr_expect_null(ctl_run_words(NULL, NULL, (const char *const[]){NULL}));
}

Test(ctl_run, a_variable_is_there_once)
{
	json_t *list = json_loads("[\"A=1\",\"AB=2\",\"A=3\"]", 0, NULL);

	setenv("OWN", "x=y", 1);
	unsetenv("NONE");
	ctl_run_set_variable(list, "A=");
	ctl_run_set_variable(list, "OWN");
	ctl_run_set_variable(list, "NONE");
	AUTO_FREE char *text = json_dumps(list, JSON_COMPACT);

	cr_expect_str_eq(text, "[\"AB=2\",\"A=\",\"OWN=x=y\"]");
	json_decref(list);
}

Test(ctl_run, sizes_have_units_and_no_nonsense)
{
	static const struct {
		const char *text;
		uint64_t mib; /* 0: refused */
	} sizes[] = {
		{"512m", 512},
		{"2G", 2048},
		{"1048576", 1},
		{"2048k", 2},
		{"1048576b", 1},
		{"", 0},
		{"m", 0},
		{"512", 0},
		{"1t", 0},
		{"1mb", 0},
		{"-1m", 0},
		{"0g", 0},
		{"99999999999999999999m", 0},
		{"99999999999999g", 0},
		{"1 ", 0},
	};
	uint64_t mib;

	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		bool is_size = ctl_run_mib(sizes[i].text, &mib);

		cr_expect_eq(is_size, sizes[i].mib != 0, "%s", sizes[i].text);
		cr_expect(!is_size || mib == sizes[i].mib, "%s", sizes[i].text);
	}
}

/* --- images --- */

Test(ctl_run, an_image_is_what_its_name_says)
{
	char dir[] = "/tmp/squib-image-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	cr_expect_eq(image_kind(dir), IMAGE_DIRECTORY);
	cr_expect_eq(image_kind("/etc/passwd"), IMAGE_DISK);
	cr_expect_eq(image_kind("/nothing/there"), IMAGE_DISK);
	cr_expect_eq(image_kind("./nothing"), IMAGE_DISK);
	cr_expect_eq(image_kind("oci:x:latest"), IMAGE_LAYOUT);
	cr_expect_eq(image_kind("docker-archive:x"), IMAGE_ARCHIVE);
	cr_expect_eq(image_kind("docker://x"), IMAGE_REGISTRY);
	cr_expect_eq(image_kind("debian:12"), IMAGE_REGISTRY);
	rmdir(dir);
}

/* A layout in a directory of its own: `config` and `manifest` are stored by their digests. */
struct layout {
	char dir[32];
	char manifest[OCI_DIGEST_LEN];
};

static void store_blob(const struct layout *layout, const char *text, char digest[OCI_DIGEST_LEN])
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];
	struct error err = {0};

	crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	snprintf(digest, OCI_DIGEST_LEN, "sha256:%s", hex);
	AUTO_FREE char *path = ctl_text("%s/blobs/sha256/%s", layout->dir, hex);

	cr_assert_eq(ctl_write_file(path, text, strlen(text), &err), 0, "%s", err.msg);
}

static void write_index(const struct layout *layout, const char *text)
{
	AUTO_FREE char *path = ctl_text("%s/index.json", layout->dir);
	struct error err = {0};

	cr_assert_eq(ctl_write_file(path, text, strlen(text), &err), 0, "%s", err.msg);
}

static void make_layout(struct layout *layout)
{
	char config[OCI_DIGEST_LEN];
	struct error err = {0};

	snprintf(layout->dir, sizeof(layout->dir), "/tmp/squib-oci-XXXXXX");
	cr_assert_not_null(mkdtemp(layout->dir));
	AUTO_FREE char *blobs = ctl_text("%s/blobs/sha256", layout->dir);

	cr_assert_eq(ctl_make_dir(blobs, &err), 0);
	store_blob(layout, "{\"config\":{\"Cmd\":[\"sh\"]}}", config);
	AUTO_FREE char *manifest = ctl_text("{\"config\":{\"digest\":\"%s\"}}", config);

	store_blob(layout, manifest, layout->manifest);
	AUTO_FREE char *index = ctl_text("{\"manifests\":[{\"digest\":\"%s\",\"annotations\":"
					 "{\"org.opencontainers.image.ref.name\":\"good\"}}]}",
					 layout->manifest);

	write_index(layout, index);
}

Test(ctl_oci, an_image_is_found_by_its_tag_or_as_the_only_one)
{
	struct layout layout;
	struct oci_image image;
	struct error err = {0};

	make_layout(&layout);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(oci_open(layout.dir, i == 0 ? "good" : NULL, &image, &err), 0, "%s",
			     err.msg);
		cr_expect_str_eq(image.digest, layout.manifest);
		cr_expect_str_eq(image.tag, "good");
		cr_expect_eq(json_array_size(json_object_get(image.config, "Cmd")), 1);
		oci_close(&image);
	}
	cr_expect_eq(oci_open(layout.dir, "bad", &image, &err), -1);
	cr_expect_not_null(strstr(err.msg, "no image with the tag 'bad'"));
	oci_close(&image);
	ctl_remove_tree(layout.dir);
}

Test(ctl_oci, what_is_damaged_or_leads_elsewhere_is_refused)
{
	static const struct {
		const char *index;
		const char *part;
	} cases[] = {
		{"{\"manifests\":[]}", "not exactly one image"},
		{"{\"manifests\":[{}]}", "by no SHA-256"},
		{"{\"manifests\":[{\"digest\":\"sha256:../../../../etc/passwd\"}]}",
		 "by no SHA-256"},
		{"[]", "no JSON object"},
		{"", "no JSON object"},
	};
	struct layout layout;
	struct oci_image image;

	make_layout(&layout);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		write_index(&layout, cases[i].index);
		cr_expect_eq(oci_open(layout.dir, NULL, &image, &err), -1);
		cr_expect_not_null(strstr(err.msg, cases[i].part), "%s", err.msg);
		oci_close(&image);
	}
	/* A manifest that is another one than its digest says. */
	AUTO_FREE char *index = ctl_text("{\"manifests\":[{\"digest\":\"%s\"}]}", layout.manifest);
	AUTO_FREE char *path = ctl_text("%s/blobs/sha256/%s", layout.dir, layout.manifest + 7);
	struct error err = {0};

	write_index(&layout, index);
	cr_assert_eq(ctl_write_file(path, "{}", 2, &err), 0);
	cr_expect_eq(oci_open(layout.dir, NULL, &image, &err), -1);
	cr_expect_not_null(strstr(err.msg, "is damaged"), "%s", err.msg);
	oci_close(&image);
	ctl_remove_tree(layout.dir);
}

/* --- the initrd --- */

Test(ctl_newc, cpio_reads_what_is_written)
{
	static const struct newc_entry entries[] = {
		{.name = "dir", .mode = S_IFDIR | 0755},
		{.name = "dir/file", .mode = S_IFREG | 0640, .data = "hello", .len = 5},
		{.name = "empty", .mode = S_IFREG | 0755},
		{.name = "null", .mode = S_IFCHR | 0600, .major = 1, .minor = 3},
		{0},
	};
	char archive[2048];
	char path[] = "/tmp/squib-newc-XXXXXX";
	char command[128];
	char listed[512] = "";
	AUTO_FD fd = mkstemp(path);
	size_t len = newc_write(entries, archive, sizeof(archive));

	cr_assert(len <= sizeof(archive) && len % 4 == 0);
	cr_assert_eq(write(fd, archive, len), (ssize_t)len);
	snprintf(command, sizeof(command), "cpio -itv --quiet <%s 2>&1", path);
	FILE *pipe = popen(command, "r");

	cr_assert_not_null(pipe);
	cr_expect_gt(fread(listed, 1, sizeof(listed) - 1, pipe), 0);
	cr_expect_eq(pclose(pipe), 0);
	unlink(path);
	cr_expect_not_null(strstr(listed, "drwxr-xr-x"), "%s", listed);
	cr_expect_not_null(strstr(listed, "-rw-r----- "), "%s", listed);
	cr_expect_not_null(strstr(listed, "5 Jan  1  1970 dir/file"), "%s", listed);
	cr_expect_not_null(strstr(listed, "1,   3"), "%s", listed);
	cr_expect_not_null(memmem(archive, len, "hello", 5));
}

Test(ctl_newc, nothing_is_written_beyond_its_room)
{
	static const struct newc_entry entries[] = {
		{.name = "file", .mode = S_IFREG | 0640, .data = "hello", .len = 5}, {0}};
	size_t len = newc_write(entries, NULL, 0);

	for (size_t cap = 0; cap < len; cap++) {
		/* In memory of its own, for a sanitizer. */
		AUTO_FREE char *room = malloc(cap + 1);

		room[cap] = '#';
		cr_expect_eq(newc_write(entries, room, cap), len);
		cr_expect_eq(room[cap], '#');
	}
}

/* --- machines --- */

Test(ctl_machine, a_name_is_one_machines_until_it_is_removed)
{
	char dir[] = "/tmp/squib-machines-XXXXXX";
	static const char *const names[] = {
		"",	    "..",
		".a",	    "a/b",
		"a_b",	    "a.b",
		"a b",	    "-a",
		"\xc3\xa4", "123456789-123456789-123456789-123456789-123456789"};
	struct machine machine;
	struct machine again;
	struct error err = {0};

	cr_assert_not_null(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		error_clear(&err);
		cr_expect_eq(ctl_machine_create(names[i], &machine, &err), -1, "%s", names[i]);
		ctl_machine_close(&machine);
	}
	error_clear(&err);
	cr_assert_eq(ctl_machine_create("web-1", &machine, &err), 0, "%s", err.msg);
	cr_assert_eq(ctl_machine_save(&machine, &err), 0);
	cr_expect_eq(ctl_machine_create("web-1", &again, &err), -1);
	cr_expect_not_null(strstr(err.msg, "squibctl rm --force web-1"));
	ctl_machine_close(&again);
	error_clear(&err);
	cr_assert_eq(ctl_machine_open("web-1", &again, &err), 0, "%s", err.msg);
	ctl_machine_close(&again);
	ctl_machine_remove(&machine);
	cr_expect_eq(ctl_machine_open("web-1", &again, &err), -1);
	cr_expect_not_null(strstr(err.msg, "There is no machine"));
	ctl_machine_close(&again);
	ctl_machine_close(&machine);
	ctl_remove_tree(dir);
}

Test(ctl_machine, what_others_may_write_to_is_refused)
{
	char dir[] = "/tmp/squib-machines-XXXXXX";
	struct error err = {0};
	struct machine machine;

	cr_assert_not_null(mkdtemp(dir));
	AUTO_FREE char *base = ctl_text("%s/squib", dir);

	setenv("XDG_RUNTIME_DIR", dir, 1);
	cr_assert_eq(mkdir(base, 0700), 0);
	cr_assert_eq(chmod(base, 0770), 0);
	cr_expect_eq(ctl_machine_create("a", &machine, &err), -1);
	cr_expect_not_null(strstr(err.msg, "alone"));
	ctl_machine_close(&machine);
	error_clear(&err);
	rmdir(base);
	cr_assert_eq(symlink("/", base), 0);
	cr_expect_eq(ctl_machine_create("a", &machine, &err), -1);
	ctl_machine_close(&machine);
	unlink(base);
	rmdir(dir);
}

Test(ctl_machine, its_state_is_that_of_its_processes)
{
	char dir[] = "/tmp/squib-machines-XXXXXX";
	struct machine machine;
	struct error err = {0};

	cr_assert_not_null(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	cr_assert_eq(ctl_machine_create(NULL, &machine, &err), 0, "%s", err.msg);
	/* Whoever makes it. */
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_STARTING);
	ctl_machine_set_process(&machine, "squib", getpid());
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_STARTING);
	json_object_set_new(machine.record, "started", json_true());
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_RUNNING);
	cr_expect_not(ctl_machine_wait(&machine, "squib", 0));
	/* Without its keeper it goes on, but does not begin. */
	json_object_set_new(json_object_get(machine.record, "keeper"), "born", json_integer(1));
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_RUNNING);
	json_object_del(machine.record, "started");
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_LOST);
	json_object_set_new(machine.record, "started", json_true());
	/* Another process that has the pid by now is not the machine. */
	json_object_set_new(json_object_get(machine.record, "squib"), "born", json_integer(1));
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_LOST);
	cr_expect(ctl_machine_wait(&machine, "squib", -1));
	json_object_set_new(machine.record, "exit_status", json_integer(0));
	cr_expect_eq(ctl_machine_state(&machine), MACHINE_ENDED);
	ctl_machine_remove(&machine);
	ctl_machine_close(&machine);
	ctl_remove_tree(dir);
}

/* --- ages --- */

static const struct {
	const char *text;
	uint64_t seconds;
} ages[] = {{"0s", 0}, {"30s", 30}, {"15m", 900}, {"12h", 43200}, {"7d", 604800}};

static const char *const no_ages[] = {
	"", "7", "d", "-1d", " 1d", "1dd", "1.5h", "1w", "18446744073709551615d"};

Test(ctl_images, an_age_has_a_number_and_a_unit)
{
	uint64_t seconds;

	for (size_t i = 0; i < ARRAY_COUNT(ages); i++) {
		cr_expect(ctl_images_age(ages[i].text, &seconds), "%s", ages[i].text);
		cr_expect_eq(seconds, ages[i].seconds, "%s", ages[i].text);
	}
	for (size_t i = 0; i < ARRAY_COUNT(no_ages); i++) {
		cr_expect(!ctl_images_age(no_ages[i], &seconds), "%s", no_ages[i]);
	}
}

/* --- published ports --- */

static const struct {
	const char *word;
	const char *passt; /* NULL: it is none */
} ports[] = {
	{"8080:80", "-t8080:80"},
	{"8080:80/tcp", "-t8080:80"},
	{"53:5353/udp", "-u53:5353"},
	{"127.0.0.1:1:65535", "-t127.0.0.1/1:65535"},
	{"", NULL},
	{"80", NULL},
	{"80:", NULL},
	{":80", NULL},
	{"0:80", NULL},
	{"80:65536", NULL},
	{"80:80:80", NULL},
	{"1.2.3:80:80", NULL},
	{"80:80/sctp", NULL},
	{"80:80/", NULL},
	{"-1:80", NULL},
	{"80:80,all", NULL},
	{"127.0.0.1/all:1:1", NULL},
	{"1:2:3:4", NULL},
};

Test(ctl_net, a_port_is_published_in_the_words_of_passt)
{
	for (size_t i = 0; i < ARRAY_COUNT(ports); i++) {
		AUTO_FREE char *words = ctl_net_publish(ports[i].word);

		if (ports[i].passt != NULL) {
			cr_expect_str_eq(words, ports[i].passt, "%s", ports[i].word);
		} else {
			cr_expect_null(words, "%s", ports[i].word);
		}
	}
}
