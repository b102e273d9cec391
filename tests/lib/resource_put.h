/* SPDX-License-Identifier: Apache-2.0 */
/* Single resources, called with a body: by tests of api/res_<url>.c. */
#ifndef TESTS_LIB_RESOURCE_PUT_H
#define TESTS_LIB_RESOURCE_PUT_H

#include <criterion/criterion.h>

#include "tests/fake/api_fake.h"
#include "vmm/controller.h"

/* Of a machine that does nothing. Messages about the body begin with "Bad". */
static inline int fake_put(resource_fn fn, const char *text, struct api_fake *fake,
			   struct error *err)
{
	struct resource_call call = {.execute = api_fake_execute, .arg = fake};

	return api_fake_call(fn, &call, text, err);
}

/* What is wrong in itself, so that the machine is never asked. */
struct refusal {
	resource_fn fn;
	const char *text;
	const char *msg;
};

/* The id in each path is "a". */
static inline void expect_refusals(const struct refusal *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct api_fake fake = {0};
		struct resource_call call = {
			.execute = api_fake_execute, .arg = &fake, .path.second = "a"};
		struct error err = {0};

		api_fake_init(&fake);
		cr_expect_eq(api_fake_call(cases[i].fn, &call, cases[i].text, &err), -1, "%s",
			     cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect_eq(fake.count, 0, "%s", cases[i].text);
		api_fake_destroy(&fake);
	}
}

/* Of a machine that keeps its configuration. */
static inline int controller_put(resource_fn fn, const char *text, struct controller *controller,
				 struct error *err)
{
	struct resource_call call = {.execute = controller_execute, .arg = controller};

	return api_fake_call(fn, &call, text, err);
}

/* The answer of a GET as compact text, which the caller frees; NULL if it failed. */
static inline char *fake_get(resource_fn fn, struct api_fake *fake, struct error *err)
{
	struct resource_call call = {.execute = api_fake_execute, .arg = fake};
	char *text = NULL;

	if (fn(&call, err) == 0) {
		text = json_dumps(call.reply, JSON_COMPACT);
	}
	json_decref(call.reply);
	return text;
}

#endif
