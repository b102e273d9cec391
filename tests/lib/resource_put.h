/* SPDX-License-Identifier: Apache-2.0 */
/* Single resources, called with a body: by tests of api/res_<url>.c. */
#ifndef TESTS_LIB_RESOURCE_PUT_H
#define TESTS_LIB_RESOURCE_PUT_H

#include "tests/fake/api_fake.h"
#include "vmm/controller.h"

/* Of a machine that does nothing. Messages about the body begin with "Bad". */
static inline int fake_put(resource_fn fn, const char *text, struct api_fake *fake,
			   struct error *err)
{
	struct resource_call call = {.execute = api_fake_execute, .arg = fake};

	return api_fake_call(fn, &call, text, err);
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
