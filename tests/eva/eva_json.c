/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text of TEXT_LEN bytes, which jansson takes or refuses at any place, and walks over it with
 * values of other types than it has. What names the faults of its syntax, eva_json_syntax.c shows.
 *
 * Options: -eva-precision 1 -eva-domains cvalue -eva-slevel 60
 */
#include "tests/eva/error.h"
#include "tests/eva/jansson.h"
#include "tests/eva/printf.h"
#include "tests/eva/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#undef isfinite
#define isfinite(x) any_bool()

static double any_double(const char *number)
{
	keep((unsigned char)number[0]);
	errno = any_bool() ? ERANGE : 0;
	return 0.5;
}

/* No escape has more than 7 bytes. */
static char *put(char *to, const char *from)
{
	(void)from;
	fill(to, 8);
	return to + any_between(1, 7);
}

#define stpcpy(to, from) put(to, from)

/* A NUL ends the number, and its numbers fit their room. */
#define strtod(number, end) any_double(number)
#define strtoll(number, end, base) ((long long)any_double(number) + (long long)any_u64())
#define strtoull(number, end, base) ((unsigned long long)any_double(number) + any_u64())
#define malloc(len) room_of(len)
#define free(room) (void)(room)

/* Of a text with large numbers, or of one that has a 20 digits more for each of its bytes. */
static char copy_room[TEXT_LEN];
static char text_room[TEXT_LEN * 21 + 1];

static void *room_of(size_t len)
{
	void *room = len == TEXT_LEN ? copy_room : text_room;

	/*@ assert len <= sizeof(text_room); */
	return any_bool() ? room : NULL;
}

const char *json_syntax_fault(const char *text, size_t len, size_t *at)
{
	keep((uint64_t)(text != NULL));
	*at = any_between(0, len);
	return any_bool() ? "fault" : NULL;
}

#include "vmm/base/json.c"

static void walk(const struct json_doc *doc)
{
	struct json_value root = json_doc_root(doc);
	struct json_member member = json_member_first(&root);
	struct json_value element = json_element(&root, 0, NULL);
	struct error err = {.kind = ERR_BAD_REQUEST};
	uint64_t number = 0;

	/* Of values anywhere in the text. */
	root.start = any_between(0, TEXT_LEN);
	keep(json_value_end(&root));
	if (json_value_u64(&root, &number)) {
		keep(number);
	}
	keep(json_value_real(&root) > 0);
	while (member.key != NULL && any_bool()) {
		keep(member.value.start);
		member = json_member_next(&root, &member);
		element = json_element(&root, any_u64(), &element);
	}
	keep(json_error_after_space(&err, doc, any_between(0, TEXT_LEN)));
	keep(json_error_after_member(&err, &root, "name"));
}

static void load_any(void)
{
	struct json_doc doc = {0};
	struct error err = {0};

	fill(json_text, sizeof(json_text));
	if (json_doc_load(json_text, TEXT_LEN, "fault.", &doc, &err) == 0) {
		walk(&doc);
	}
	json_doc_free(&doc);
	if (json_doc_load_content(json_text, 0, "", &doc, &err) == 0) {
		walk(&doc);
	}
}

/* Deeper than is taken, and with numbers that are longer. */
static void load_long(void)
{
	static char text[2 * NUMBER_LEN];
	const struct json_doc doc = {.text = text, .len = sizeof(text), .fault = "fault"};
	struct error err = {0};
	char number[NUMBER_LEN];

	fill(text, sizeof(text));
	keep(check_depth(&doc, &err));
	keep(copy_integer(text, sizeof(text), any_between(0, sizeof(text)), number));
}

static void write(void)
{
	char quoted[TEXT_LEN];
	char *text = json_to_text(any_value());

	keep(text != NULL);
	keep(json_from_u64(any_u64()) != NULL);
	fill(json_text, sizeof(json_text));
	/*@ loop unroll TEXT_LEN; */
	for (size_t len = 1; len <= TEXT_LEN; len++) {
		keep((uint64_t)json_quote(json_text, TEXT_LEN, quoted + TEXT_LEN - len, len)[0]);
	}
}

void main(void)
{
	/*@ widen_hints global:"all", 11, 12, 310, 311, 623, 624; */
	load_any();
	load_long();
	write();
}
