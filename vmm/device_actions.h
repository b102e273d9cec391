/* SPDX-License-Identifier: Apache-2.0 */
/* The actions on devices, for the controller's table. Each answers and changes *action in place. */
#ifndef VMM_DEVICE_ACTIONS_H
#define VMM_DEVICE_ACTIONS_H

#include "vmm/action.h"
#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/controller.h"

/* Before the start. */
MUST_CHECK int device_put_drive(struct controller *controller, struct action *action,
				struct error *err);
MUST_CHECK int device_put_net(struct controller *controller, struct action *action,
			      struct error *err);
MUST_CHECK int device_put_pmem(struct controller *controller, struct action *action,
			       struct error *err);
MUST_CHECK int device_put_vsock(struct controller *controller, struct action *action,
				struct error *err);
MUST_CHECK int device_put_entropy(struct controller *controller, struct action *action,
				  struct error *err);
MUST_CHECK int device_put_balloon(struct controller *controller, struct action *action,
				  struct error *err);

/* After it. What was changed shows in the configuration as well. */
MUST_CHECK int device_patch_drive(struct controller *controller, struct action *action,
				  struct error *err);
MUST_CHECK int device_patch_net(struct controller *controller, struct action *action,
				struct error *err);
MUST_CHECK int device_patch_balloon(struct controller *controller, struct action *action,
				    struct error *err);
MUST_CHECK int device_get_balloon_stats(struct controller *controller, struct action *action,
					struct error *err);
MUST_CHECK int device_patch_balloon_stats(struct controller *controller, struct action *action,
					  struct error *err);
MUST_CHECK int device_start_hinting(struct controller *controller, struct action *action,
				    struct error *err);
MUST_CHECK int device_get_hinting(struct controller *controller, struct action *action,
				  struct error *err);
MUST_CHECK int device_stop_hinting(struct controller *controller, struct action *action,
				   struct error *err);

/* At any time. */
MUST_CHECK int device_get_balloon(struct controller *controller, struct action *action,
				  struct error *err);

#endif
