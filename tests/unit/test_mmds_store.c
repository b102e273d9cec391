/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/mmds/mmds_store.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "devices/mmds/mmds_json.h"
#include "devices/mmds/mmds_store.h"
#include "vmm/base/bytes.h"
#include "vmm/base/json.h"

static json_t *read_text(const char *text)
{
	struct error err = {0};
	json_t *document = NULL;

	cr_assert_eq(mmds_json_load(text, strlen(text), "Bad", &document, &err), 0, "%s", err.msg);
	return document;
}

/* Stores a document, which is the callee's, and releases the one before it. */
static int exchange(struct mmds_store *store, json_t *document, struct error *err)
{
	int result = mmds_store_put(store, &document, mmds_json_print(document, NULL), err);

	json_decref(document);
	return result;
}

static void put(struct mmds_store *store, const char *text)
{
	struct error err = {0};

	cr_assert_eq(exchange(store, read_text(text), &err), 0, "%s", err.msg);
}

/* Merges a patch, which is the callee's, into what is stored. */
static int patch(struct mmds_store *store, json_t *change, struct error *err)
{
	json_t *merged = mmds_store_merge(store->document, change);

	json_decref(change);
	cr_assert_not_null(merged);
	return exchange(store, merged, err);
}

static void expect_value(json_t *value, const char *expected)
{
	char text[512] = "";

	if (value == NULL) {
		cr_expect_null(expected, "nothing found, %s expected", expected);
		return;
	}
	cr_assert(mmds_json_print(value, NULL) < sizeof(text));
	(void)mmds_json_print(value, text);
	cr_assert_not_null(expected, "%s", text);
	cr_expect_str_eq(text, expected);
}

Test(mmds_store, a_merge_patch_changes_what_it_names)
{
	/* Those of RFC 7396, appendix A, in the order of keys, and some more. */
	static const struct {
		const char *document, *patch, *result;
	} cases[] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
		{"{\"b\":\"b\"}", "{\"a\":1}", "{\"a\":1,\"b\":\"b\"}"},
		{"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
		{"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
		{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
		{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		 "{\"a\":{\"b\":\"d\"}}"},
		{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
		{"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
		{"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
		{"{\"a\":\"foo\"}", "null", "null"},
		{"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
		{"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
		{"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
		{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
		{"{\"a\":{\"b\":{\"c\":1,\"d\":2},\"e\":3}}",
		 "{\"a\":{\"b\":{\"c\":null,\"x\":[null]},\"e\":{\"f\":4}},\"g\":5}",
		 "{\"a\":{\"b\":{\"d\":2,\"x\":[null]},\"e\":{\"f\":4}},\"g\":5}"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct mmds_store store;
		struct error err = {0};

		mmds_store_init(&store, 1024);
		put(&store, cases[i].document);
		cr_expect_eq(patch(&store, read_text(cases[i].patch), &err), 0);
		expect_value(store.document, cases[i].result);
		mmds_store_destroy(&store);
	}
}

Test(mmds_store, a_merge_leaves_the_document_as_it_was)
{
	static const char text[] = "{\"b\":{\"d\":{\"e\":1},\"x\":[1]},\"c\":2,\"y\":{\"z\":{}}}";
	static const char *const patches[] = {
		"{\"a\":3,\"b\":{\"a\":1,\"d\":{\"e\":null,\"f\":{\"g\":2}}},\"c\":null}",
		"{\"b\":{\"d\":{\"e\":{}}},\"y\":{\"z\":[]}}",
		"[]",
		"null",
	};
	json_t *document = read_text(text);

	for (size_t i = 0; i < ARRAY_COUNT(patches); i++) {
		json_t *change = read_text(patches[i]);
		json_t *merged = mmds_store_merge(document, change);

		expect_value(document, text);
		expect_value(change, patches[i]);
		json_decref(change);
		json_decref(document);
		/* What is shared outlives both. */
		cr_expect_gt(mmds_json_print(merged, NULL), 0);
		json_decref(merged);
		document = read_text(text);
	}
	json_decref(document);
}

Test(mmds_store, patches_go_as_deep_as_documents)
{
	enum {
		LEN = 6 * JSON_DEPTH_MAX - 4
	};
	char text[LEN];
	struct mmds_store store;
	struct error err = {0};

	/* {"a":{"a":{...}}} */
	for (size_t i = 0; i < JSON_DEPTH_MAX - 1; i++) {
		memcpy(text + 5 * i, "{\"a\":", 5);
	}
	text[5 * (JSON_DEPTH_MAX - 1)] = '{';
	memset(text + 5 * (JSON_DEPTH_MAX - 1) + 1, '}', JSON_DEPTH_MAX);
	mmds_store_init(&store, 1024);
	for (int i = 0; i < 2; i++) {
		json_t *document = NULL;

		cr_assert_eq(mmds_json_load(text, sizeof(text), "Bad", &document, &err), 0, "%s",
			     err.msg);
		cr_expect_eq(i == 0 ? exchange(&store, document, &err)
				    : patch(&store, document, &err),
			     0);
	}
	cr_expect_eq(mmds_json_print(store.document, NULL), sizeof(text));
	mmds_store_destroy(&store);
}

Test(mmds_store, what_does_not_fit_changes_nothing)
{
	struct mmds_store store;
	struct error err = {0};

	mmds_store_init(&store, 12);
	cr_expect_eq(exchange(&store, read_text("{\"a\":1234567}"), &err), -1);
	cr_expect_eq(err.kind, ERR_NO_ROOM);
	error_clear(&err);
	cr_expect_not(store.is_put);

	/* White space does not count. */
	put(&store, "{ \"a\" : 123456 }");
	cr_expect_eq(patch(&store, read_text("{\"b\":1}"), &err), -1);
	cr_expect_eq(err.kind, ERR_NO_ROOM);
	cr_expect_str_eq(err.msg, "The MMDS patch request doesn't fit.");
	expect_value(store.document, "{\"a\":123456}");
	mmds_store_destroy(&store);
}

Test(mmds_store, a_null_is_something)
{
	struct mmds_store store;
	struct error err = {0};

	mmds_store_init(&store, 64);
	put(&store, "null");
	cr_expect_eq(patch(&store, read_text("{\"a\":{}}"), &err), 0, "%s", err.msg);
	expect_value(store.document, "{\"a\":{}}");
	mmds_store_destroy(&store);
}

Test(mmds_store, paths_lead_to_values)
{
	static const struct {
		const char *path, *value;
	} cases[] = {
		{"/a/b", "{\"c\":[10,{\"d\":\"e\"}]}"},
		{"/a/b/", "{\"c\":[10,{\"d\":\"e\"}]}"},
		{"///a//b///", "{\"c\":[10,{\"d\":\"e\"}]}"},
		{"/a/b/c/0", "10"},
		{"/a/b/c/1/d", "\"e\""},
		{"/a/b/c/01", NULL},
		{"/a/b/c/2", NULL},
		{"/a/b/c/-1", NULL},
		{"/a/b/c/+1", NULL},
		{"/a/b/c/18446744073709551616", NULL},
		{"/a/b/c/-", NULL},
		{"/a/b/c/0/x", NULL},
		{"/A", NULL},
		{"/a~1b", "1"},
		{"/a~0b", "2"},
		{"/~01", "3"},
		{"/~2", "4"},
		{"/~", "5"},
		{"/x y", "null"},
		{"/a/b?c", NULL},
	};
	struct mmds_store store;

	mmds_store_init(&store, 1024);
	put(&store, "{\"a\":{\"b\":{\"c\":[10,{\"d\":\"e\"}]}},\"a/b\":1,\"a~b\":2,\"~1\":3,"
		    "\"~2\":4,\"~\":5,\"x y\":null}");
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		expect_value(mmds_store_find(&store, cases[i].path), cases[i].value);
	}
	cr_expect_eq(mmds_store_find(&store, "/"), store.document);
	cr_expect_eq(mmds_store_find(&store, ""), store.document);
	mmds_store_destroy(&store);
}

Test(mmds_store, a_path_may_be_of_any_length)
{
	struct mmds_store store;
	char path[4096];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	mmds_store_init(&store, 1024);
	put(&store, "{\"x\":1}");
	cr_expect_null(mmds_store_find(&store, path));
	mmds_store_destroy(&store);
}

Test(mmds_store, ec2_s_format_has_strings_and_keys_alone)
{
	static const struct {
		const char *json, *text; /* NULL: no such format */
	} cases[] = {
		{"{\"b\":{},\"a\":\"x\",\"c\":{\"d\":1},\"e\":[1],\"f\":null}", "a\nb/\nc/\ne\nf"},
		{"{\"\":1,\"a\":2}", "\na"},
		{"{}", ""},
		{"\"a \\\"text\\\"\\n\"", "a \"text\"\n"},
		{"\"\"", ""},
		{"1", NULL},
		{"1.5", NULL},
		{"null", NULL},
		{"true", NULL},
		{"[\"a\"]", NULL},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		json_t *value = read_text(cases[i].json);
		char text[64] = "";
		size_t len = 0;
		int result = mmds_store_print_imds(value, NULL, &len);

		cr_expect_eq(result, cases[i].text != NULL ? 0 : -1, "%s", cases[i].json);
		if (result == 0) {
			cr_expect_eq(len, strlen(cases[i].text));
			cr_expect_eq(mmds_store_print_imds(value, text, &len), 0);
			cr_expect_str_eq(text, cases[i].text);
		}
		json_decref(value);
	}
}
