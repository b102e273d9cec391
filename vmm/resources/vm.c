/* SPDX-License-Identifier: Apache-2.0 */
/* /vm: pause and resume. */
#include "vmm/resources/claims.h"
#include "vmm/resources/resource.h"

enum vm_order {
	PAUSED,
	RESUMED
};

struct body {
	enum vm_order state;
};

static const char *const state_names[] = {"Paused", "Resumed", NULL};

static const struct schema_field fields[] = {
	SCHEMA_ENUM_FIELD(struct body, state, SCHEMA_REQUIRED, state_names),
};

static const struct schema schema = SCHEMA("Vm", struct body, fields);

static int check(struct request *request, struct error *err)
{
	const struct body *body = request->body;

	(void)err;
	request->timed = body->state == PAUSED ? "pause vm" : "resume vm";
	request->timed_metric = body->state == PAUSED
					? offsetof(struct api_metrics, latencies.pause_vm)
					: offsetof(struct api_metrics, latencies.resume_vm);
	return 0;
}

static int patch(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct body *body = request->body;

	if (body->state == PAUSED) {
		return controller_pause(&microvm->controller, err);
	}
	/* After a save another machine may have its files. */
	if (claims_take_back(microvm, err) < 0) {
		return error_wrap(err, "The machine can't go on");
	}
	controller_resume(&microvm->controller);
	return 0;
}

const struct resource vm_resource = {
	.path = {"vm"},
	.methods[HTTP_PATCH] = {.states = AFTER_START,
				.body = BODY_JSON,
				.schema = &schema,
				.prefix = "Internal VMM error",
				.check = check,
				.run = patch},
};
