/* SPDX-License-Identifier: Apache-2.0 */
/* cpu-template-helper on dumps of processors that are sold, and on small ones. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cpu_template_helper/compare.h"
#include "tools/cpu_template_helper/files.h"
#include "tools/cpu_template_helper/fingerprint.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

#define HOSTS "tests/unit/x86_64/hosts/"

enum {
	LEAVES_MAX = 256,
	SAID_LEN = 16384
};

static char said[SAID_LEN];

/* What tests read and make; freed after each. */
static struct file files[3];
static struct dump dumps[3];
static struct cells made;

static void clean_up(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		file_free(&files[i]);
		dump_free(&dumps[i]);
	}
	cells_free(&made);
}

TestSuite(helper, .fini = clean_up);

/* What is printed goes to `said`. */
static FILE *listen(void)
{
	memset(said, 0, sizeof(said));
	return fmemopen(said, sizeof(said) - 1, "w");
}

static void add_leaf(struct cpu_template_leaf *leaves, size_t *count, const char *line)
{
	struct cpu_template_leaf *leaf = &leaves[*count];

	cr_assert_lt(*count, LEAVES_MAX);
	*leaf = (struct cpu_template_leaf){.flags = 0};
	cr_assert_eq(sscanf(line, "%x %x %x %x %x %x", &leaf->leaf, &leaf->subleaf,
			    &leaf->regs[0].value, &leaf->regs[1].value, &leaf->regs[2].value,
			    &leaf->regs[3].value),
		     6, "%s", line);
	for (unsigned i = 0; i < 4; i++) {
		leaf->regs[i].mask = UINT32_MAX;
	}
	(*count)++;
}

/* What a processor says of itself, as a dump. */
static void read_host(const char *name, struct dump *dump)
{
	static struct cpu_template_leaf leaves[LEAVES_MAX];
	struct cpu_template sizes = {.leaves = leaves};
	char line[256];
	char path[256];
	struct error err = {0};

	(void)snprintf(path, sizeof(path), HOSTS "%s", name);
	FILE *file = fopen(path, "re");

	cr_assert_neq(file, NULL, "%s", path);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (line[0] != '#') {
			add_leaf(leaves, &sizes.leaf_count, line);
		}
	}
	fclose(file);
	*dump = (struct dump){.path = name};
	cr_assert_eq(cpu_template_block_new(&sizes, &dump->block, &err), 0);
	memcpy(dump->block->leaves, leaves, sizes.leaf_count * sizeof(leaves[0]));
	cr_assert_eq(cells_of(&dump->block->bits, &dump->cells, &err), 0, "%s", err.msg);
}

static void read_text(const char *text, const char *path, struct file *file, struct dump *dump)
{
	struct error err = {0};

	*dump = (struct dump){.path = NULL};
	*file = (struct file){.text = strdup(text)};
	cr_assert_eq(json_doc_load(file->text, strlen(text), "", &file->doc, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(file_to_dump(file, path, dump, &err), 0, "%s", err.msg);
}

/* A register of a leaf, or an MSR; NULL: the cells do not have it. */
static const struct cell *at(const struct cells *cells, struct arch_register reg)
{
	const struct cell key = {.reg = reg};

	return cells_find(cells, &key);
}

/* --- strip, verify --- */

static const char one[] =
	"{\"cpuid_modifiers\":[{\"leaf\":\"0x1\",\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":["
	"{\"register\":\"eax\",\"bitmap\":\"0b1100\"},{\"register\":\"ecx\",\"bitmap\":\"0b1111\"}]"
	"},"
	"{\"leaf\":\"0x9\",\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":["
	"{\"register\":\"edx\",\"bitmap\":\"0b1\"}]}],"
	"\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":\"0b01\"}]}";
static const char two[] =
	"{\"cpuid_modifiers\":[{\"leaf\":\"0x1\",\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":["
	"{\"register\":\"eax\",\"bitmap\":\"0b1010\"},{\"register\":\"ecx\",\"bitmap\":\"0b1111\"}]"
	"}],"
	"\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":\"0b11\"}]}";

Test(helper, strip_keeps_what_differs)
{
	struct cells *const sets[] = {&dumps[0].cells, &dumps[1].cells};

	read_text(one, "one", &files[0], &dumps[0]);
	read_text(two, "two", &files[1], &dumps[1]);
	compare_strip(sets, 2);
	json_t *first = cells_to_json(sets[0], CELLS_TEMPLATE);
	json_t *second = cells_to_json(sets[1], CELLS_TEMPLATE);
	AUTO_FREE char *first_text = json_dumps(first, JSON_COMPACT);
	AUTO_FREE char *second_text = json_dumps(second, JSON_COMPACT);

	cr_expect_str_eq(
		first_text,
		"{\"kvm_capabilities\":[],\"cpuid_modifiers\":[{\"leaf\":\"0x1\",\"subleaf\":"
		"\"0x0\","
		"\"flags\":0,\"modifiers\":[{\"register\":\"eax\",\"bitmap\":"
		"\"0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxx10x\"}]},{\"leaf\":\"0x9\",\"subleaf\":\"0x0\","
		"\"flags\":0,\"modifiers\":[{\"register\":\"edx\",\"bitmap\":"
		"\"0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1\"}]}],\"msr_modifiers\":[{\"addr\":\"0x10a\","
		"\"bitmap\":\"0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0x\"}"
		"]}");
	cr_expect_neq(strstr(second_text, "xxx01x\""), NULL, "%s", second_text);
	cr_expect_null(strstr(second_text, "0x9"));
	json_decref(first);
	json_decref(second);
}

Test(helper, strip_of_three_keeps_what_any_two_differ_in)
{
	struct cells *const sets[] = {&dumps[0].cells, &dumps[1].cells, &dumps[2].cells};

	read_text(two, "a", &files[0], &dumps[0]);
	read_text(two, "b", &files[1], &dumps[1]);
	read_text(one, "c", &files[2], &dumps[2]);
	compare_strip(sets, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct cell *eax = at(sets[i], (struct arch_register){true, 0, 1, 0, 0});

		cr_assert_not_null(eax);
		cr_expect_eq(eax->bits.mask[0], 6);
	}
}

Test(helper, verify_names_what_a_guest_sees_otherwise)
{
	FILE *out = listen();

	read_text(one, "one", &files[0], &dumps[0]);
	read_text(two, "two", &files[1], &dumps[1]);
	cr_expect_eq(compare_verify(&dumps[0].cells, &dumps[0].cells, out), 0);
	cr_expect_eq(compare_verify(&dumps[1].cells, &dumps[0].cells, out), 2);
	cr_expect_eq(compare_verify(&dumps[0].cells, &dumps[1].cells, out), 3);
	fclose(out);
	static const char begin[] =
		"Value for leaf=0x1, subleaf=0x0, flags=0b0, register=eax mismatched.\n"
		"* CPU template     : 0b00000000000000000000000000001010\n"
		"* CPU configuration: 0b00000000000000000000000000001100\n"
		"* Diff             :                                ^^ \n"
		"* stepping (CPUID 0x1 EAX bits 3:0)\n"
		"Value for index=0x10a mismatched.\n";

	cr_expect_eq(strncmp(said, begin, strlen(begin)), 0, "%s", said);
	cr_expect_neq(strstr(said, "* IBRS_ALL (IA32_ARCH_CAPABILITIES (MSR 0x10a) bit 1)\n"), NULL,
		      "%s", said);
	cr_expect_neq(strstr(said,
			     "leaf=0x9, subleaf=0x0, flags=0b0, register=edx not found in CPU "
			     "configuration.\n"),
		      NULL, "%s", said);
}

/* --- explain --- */

Test(helper, explain_names_features)
{
	struct dump *const skylake = &dumps[0];
	struct dump *const ice_lake = &dumps[1];
	FILE *out = listen();

	read_host("xeon-skylake", skylake);
	read_host("xeon-ice-lake", ice_lake);
	cr_expect_eq(compare_explain(skylake, skylake, out), 0);
	cr_expect_gt(compare_explain(skylake, ice_lake, out), 20);
	fclose(out);
	static const char *const lines[] = {
		"MPX (CPUID 0x7.0 EBX bit 14): only in xeon-skylake\n",
		"AVX512_VNNI (CPUID 0x7.0 ECX bit 11): only in xeon-ice-lake\n",
		"width of linear addresses (CPUID 0x80000008 EAX bits 15:8): 48 in xeon-skylake, "
		"57 in "
		"xeon-ice-lake\n",
		"model (CPUID 0x1 EAX bits 7:4): 5 in xeon-skylake, 10 in xeon-ice-lake\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		cr_expect_neq(strstr(said, lines[i]), NULL, "%s is not in\n%s", lines[i], said);
	}
}

/* --- common --- */

static const char msr_one[] = "{\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":\"0b1011\"},"
			      "{\"addr\":\"0x8b\",\"bitmap\":\"0b100\"},"
			      "{\"addr\":\"0x174\",\"bitmap\":\"0b1\"}]}";
static const char msr_two[] = "{\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":\"0b1101\"},"
			      "{\"addr\":\"0x8b\",\"bitmap\":\"0b011\"},"
			      "{\"addr\":\"0x174\",\"bitmap\":\"0b0\"}]}";

Test(helper, common_goes_by_the_rules)
{
	struct error err = {0};
	FILE *out = listen();

	read_text(msr_one, "a", &files[0], &dumps[0]);
	read_text(msr_two, "b", &files[1], &dumps[1]);
	cr_assert_eq(compare_common(dumps, 2, &made, out, &err), 0, "%s", err.msg);
	fclose(out);
	cr_assert_eq(made.count, 2, "what a guest sets is no property");
	const struct cell *microcode = at(&made, (struct arch_register){.id = 0x8b});
	const struct cell *capabilities = at(&made, (struct arch_register){.id = 0x10a});

	/* IBRS_ALL is 1 in one; RSBA is a fault, and counts where one has it. */
	cr_expect(capabilities->bits.mask[0] == 6 && capabilities->bits.value[0] == 4);
	cr_expect(microcode->bits.mask[0] == UINT64_MAX && microcode->bits.value[0] == 3);
}

/* Whatever two hosts of one vendor differ in, under their template they do not but where noted. */
static void expect_levels(const char *a, const char *b)
{
	struct error err = {0};
	FILE *out = listen();

	read_host(a, &dumps[0]);
	read_host(b, &dumps[1]);
	cr_assert_eq(compare_common(dumps, 2, &made, out, &err), 0, "%s", err.msg);
	fclose(out);
	cr_expect_gt(made.count, 5);
	for (size_t i = 0; i < made.count; i++) {
		const struct cell *cell = &made.items[i];
		const struct cell *first = cells_find(&dumps[0].cells, cell);
		const struct cell *second = cells_find(&dumps[1].cells, cell);

		cr_assert(first != NULL && second != NULL);
		for (unsigned bit = 0; bit < 32; bit++) {
			const struct arch_field field = arch_field_at(&cell->reg, bit);

			if (cell_has(cell, bit) && field.rule == ARCH_RULE_AND) {
				const uint64_t all = first->bits.value[0] & second->bits.value[0];

				cr_expect_eq(cell->bits.value[0] >> bit & 1, all >> bit & 1);
			}
		}
	}
}

Test(helper, common_is_what_both_have)
{
	static const char *const pairs[][2] = {
		{"xeon-skylake", "xeon-ice-lake"},
		{"xeon-cascade-lake", "xeon-granite-rapids"},
		{"epyc-milan", "epyc-turin"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
		expect_levels(pairs[i][0], pairs[i][1]);
		clean_up();
	}
}

Test(helper, common_hides_leaves_that_one_lacks)
{
	struct error err = {0};
	FILE *out = listen();

	read_host("xeon-skylake", &dumps[0]);
	read_host("xeon-granite-rapids", &dumps[1]);
	cr_assert_eq(compare_common(dumps, 2, &made, out, &err), 0, "%s", err.msg);
	fclose(out);
	const struct cell *last = at(&made, (struct arch_register){true, 0, 0, 0, 0});
	const struct cell *features = at(&made, (struct arch_register){true, 0, 7, 0, 0});

	cr_assert(last != NULL && features != NULL);
	cr_expect_eq(last->bits.value[0], 0x16);
	cr_expect_eq(features->bits.value[0], 0);
	cr_expect_null(at(&made, (struct arch_register){true, 0, 7, 1, 0}));
	/* A frequency is what it is. */
	cr_expect_null(at(&made, (struct arch_register){true, 1, 0x16, 0, 0}));
	cr_expect_neq(strstr(said, "note: frequency in MHz (CPUID 0x16 EBX bits 15:0) differs"),
		      NULL, "%s", said);
	cr_expect_neq(strstr(said, "note: CPUID 0x7.1 EAX is not on every host"), NULL, "%s", said);
}

/* Of AVX2 and HLE, bits 5 and 4 of leaf 7's EBX, one file says nothing of HLE. */
Test(helper, common_leaves_what_a_file_does_not_name)
{
#define PART(bits)                                                                                 \
	"{\"cpuid_modifiers\":[{\"leaf\":\"0x7\",\"subleaf\":\"0x0\",\"flags\":1,\"modifiers\":["  \
	"{\"register\":\"ebx\",\"bitmap\":\"" bits "\"}]}]}"
	struct error err = {0};
	FILE *out = listen();

	read_text(PART("0b11xxxx"), "all", &files[0], &dumps[0]);
	read_text(PART("0b0xxxxx"), "part", &files[1], &dumps[1]);
	cr_assert_eq(compare_common(dumps, 2, &made, out, &err), 0, "%s", err.msg);
	fclose(out);
	cr_assert_eq(made.count, 1);
	cr_expect_eq(made.items[0].bits.mask[0], 0x20);
	cr_expect_eq(made.items[0].bits.value[0], 0);
}

Test(helper, common_refuses_two_vendors)
{
	struct error err = {0};

	read_host("xeon-skylake", &dumps[0]);
	read_host("epyc-milan", &dumps[1]);
	cr_expect_eq(compare_common(dumps, 2, &made, stderr, &err), -1);
	cr_expect_str_eq(err.msg, "No template makes processors of different vendors the same: "
				  "xeon-skylake is of GenuineIntel, epyc-milan of AuthenticAMD");
}

/* --- Files --- */

Test(helper, what_is_written_is_read_again)
{
	struct dump *const host = &dumps[0];
	struct dump *const again = &dumps[1];
	struct file *const file = &files[0];
	char path[] = "/tmp/helper.XXXXXX";
	struct error err = {0};

	close(mkstemp(path));
	read_host("epyc-rome", host);
	cr_assert_eq(file_write(path, (const char *const[]){NULL},
				cells_to_json(&host->cells, CELLS_DUMP), &err),
		     0, "%s", err.msg);
	cr_assert_eq(file_read(path, file, &err), 0, "%s", err.msg);
	cr_assert_eq(file_to_dump(file, path, again, &err), 0, "%s", err.msg);
	cr_expect(cells_equal(&host->cells, &again->cells));
	again->cells.items[7].bits.value[0] ^= 1;
	cr_expect(!cells_equal(&host->cells, &again->cells));
	unlink(path);
}

Test(helper, a_suffix_goes_before_the_extension)
{
	static const char *const cases[][2] = {
		{"a.json", "a_x.json"},	  {"d/a.b.json", "d/a.b_x.json"}, {"d.d/a", "d.d/a_x"},
		{".hidden", ".hidden_x"}, {"d/.hidden", "d/.hidden_x"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		AUTO_FREE char *path = file_add_suffix(cases[i][0], "_x");

		cr_expect_str_eq(path, cases[i][1]);
	}
}

static const char *const bad[][2] = {
	{"[]", "expected"},
	{"{\"cpuid_modifiers\":[{\"leaf\":\"1\",\"subleaf\":\"0x0\",\"flags\":0,\"modifiers\":[]}]"
	 "}",
	 "No supported number system prefix"},
	{"{\"reg_modifiers\":[]}", "unknown field `reg_modifiers`"},
	{"{\"msr_modifiers\":[{\"addr\":\"0x1\",\"bitmap\":\"0b2\"}]}", "as a bitmap"},
	{"{", "EOF"},
};

Test(helper, a_file_that_is_none_is_refused)
{
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct cpu_template_block *block;
		char path[] = "/tmp/helper.XXXXXX";
		struct error err = {0};
		int fd = mkstemp(path);

		cr_assert_eq(write(fd, bad[i][0], strlen(bad[i][0])), (ssize_t)strlen(bad[i][0]));
		close(fd);
		cr_expect_eq(file_load_template(path, &block, &err), -1);
		cr_expect(strstr(err.msg, bad[i][1]) != NULL && strstr(err.msg, path) != NULL, "%s",
			  err.msg);
		unlink(path);
	}
}

/* --- Fingerprints --- */

#define PRINT(kernel, guest)                                                                       \
	"{\"firecracker_version\":\"1\",\"kernel_version\":\"" kernel                              \
	"\",\"microcode_version\":\"2\",\"bios_version\":\"3\",\"bios_revision\":\"4\","           \
	"\"guest_cpu_config\":" guest "}"
#define GUEST(bits) "{\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":\"0b" bits "\"}]}"

static size_t compare_prints(const char *prev, const char *curr, const char *const *filters)
{
	struct fingerprint both[2];
	const char *const texts[2] = {prev, curr};
	struct error err = {0};
	FILE *out = listen();

	for (size_t i = 0; i < 2; i++) {
		read_text(texts[i], "x", &files[i], &dumps[i]);
		both[i].guest = &dumps[i];
		cr_assert_eq(fingerprint_read(&files[i].doc, &both[i], &err), 0, "%s", err.msg);
	}
	size_t count = fingerprint_compare(&both[0], &both[1], filters, out);

	fclose(out);
	clean_up();
	return count;
}

Test(helper, fingerprints_differ_by_fields)
{
	static const char *const all[] = {NULL};
	static const char *const kernel[] = {"bios_version", "kernel_version", NULL};
	static const char a[] = PRINT("5", GUEST("11"));
	static const char b[] = PRINT("6", GUEST("01"));

	cr_expect_eq(compare_prints(a, a, all), 0);
	cr_expect_eq(compare_prints(a, b, kernel), 1);
	cr_expect_str_eq(said,
			 "Difference detected between source and target: \n"
			 "{\n  \"name\": \"kernel_version\",\n  \"prev\": \"5\",\n  \"curr\": "
			 "\"6\"\n}\n");
	cr_expect_eq(compare_prints(a, b, all), 2);
	cr_expect_neq(strstr(said, "\"name\": \"guest_cpu_config\",\n  \"prev\": {\n    "
				   "\"kvm_capabilities\": [],"),
		      NULL, "%s", said);
	cr_expect_neq(strstr(said, "xxx1x\""), NULL, "%s", said);
}

Test(helper, a_fingerprint_without_a_field_is_refused)
{
	static const char text[] = "{\"firecracker_version\":\"1\",\"guest_cpu_config\":{}}";
	struct fingerprint print;
	struct error err = {0};

	read_text(text, "x", &files[0], &dumps[0]);
	cr_expect_eq(fingerprint_read(&files[0].doc, &print, &err), -1);
	cr_expect_str_eq(err.msg, "the text `kernel_version` is missing");
}
