/* SPDX-License-Identifier: Apache-2.0 */
/* An interface whose queues the host's kernel serves, under Linux. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"
#include "tests/devices/saved.h"

enum {
	TRANSFERS = 4, /* of the guest's script, each of so many connections: */
	CONNECTIONS = 2,
	PLUGGED_TRANSFERS = 2, /* and one connection more */
	PLUGGED_MIB = 256,
	PLUG_MS = 120000,
};

static bool put_interface(struct squib *squib)
{
	int tap = host_net_tap(squib, "tap0", true);

	if (tap >= 0) {
		close(tap);
	}
	return tap >= 0 && host_net_up(squib, "tap0", "10.1.0.1", 1500) &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\", \"guest_mac\": "
			 "\"06:00:ac:10:00:02\", \"vhost\": true}");
}

static bool is_refused(struct squib *squib, const char *method, const char *path, const char *body,
		       const char *why)
{
	return squib_api(squib, 400, method, path, "%s", body) &&
	       (strstr(squib->answer, why) != NULL ||
		squib_fail(squib, "%s %s is refused by: %s", method, path, squib->answer));
}

/* What needs eyes on the frames, a second process, or marks of what is written. */
static bool refuses(struct squib *squib)
{
	static const char start[] = "{\"action_type\": \"InstanceStart\"}";

	return squib_patch(squib, "/machine-config", "{\"track_dirty_pages\": true}") &&
	       is_refused(squib, "PUT", "/actions", start, "can't have track_dirty_pages") &&
	       squib_patch(squib, "/machine-config",
			   "{\"track_dirty_pages\": false, \"forkable\": true}") &&
	       is_refused(squib, "PUT", "/actions", start, "can't be forkable") &&
	       squib_patch(squib, "/machine-config", "{\"forkable\": false}") &&
	       squib_put(squib, "/mmds/config", "{\"network_interfaces\": [\"eth0\"]}") &&
	       is_refused(squib, "PUT", "/actions", start,
			  "the metadata service can't be on an interface with `vhost`") &&
	       is_refused(squib, "PUT", "/network-interfaces/eth1",
			  "{\"iface_id\": \"eth1\", \"host_dev_name\": \"tap1\", \"vhost\": true, "
			  "\"queue_pairs\": 2}",
			  "`vhost` and several `queue_pairs`") &&
	       is_refused(squib, "PUT", "/network-interfaces/eth1",
			  "{\"iface_id\": \"eth1\", \"host_dev_name\": \"tap1\", \"vhost\": true, "
			  "\"tx_rate_limiter\": {\"ops\": {\"size\": 1, \"refill_time\": 1}}}",
			  "`vhost` and rate limiters");
}

/* No frame has passed squib. */
static bool is_unseen(struct squib *squib)
{
	if (!machine_flush_metrics(squib)) {
		return false;
	}
	char *text = squib_text(squib, "metrics");
	bool is_told = text != NULL && strstr(text, "\"net_eth0\":{") != NULL;
	long frames = machine_metric(squib, "net_eth0", "tx_packets_count") +
		      machine_metric(squib, "net_eth0", "rx_packets_count");

	free(text);
	return (is_told && frames == 0) ||
	       squib_fail(squib, is_told ? "squib has seen %ld frames" : "no metrics (%ld)",
			  frames);
}

static bool carry(struct squib *squib)
{
	return machine_meet(squib, "addresses") && machine_go_on(squib) &&
	       squib_expect(squib, "ok: carries", NULL) && is_unseen(squib) &&
	       squib_expect(squib, "ok: bound again", NULL) && machine_meet(squib, "a pause") &&
	       saved_save(squib, "Full") && saved_resume(squib) && machine_go_on(squib) &&
	       squib_expect(squib, "ok: goes on", NULL) &&
	       is_refused(squib, "PATCH", "/network-interfaces/eth0",
			  "{\"iface_id\": \"eth0\", \"rx_rate_limiter\": {}}",
			  "it has no rate limiters") &&
	       machine_meet(squib, "a load") && saved_renew(squib, "Full", false) &&
	       machine_go_on(squib) && squib_expect(squib, "ok: loaded", NULL);
}

static bool run_kernel_net(struct squib *squib)
{
	const struct guest guest = {.vcpus = 2,
				    .mem_mib = 128,
				    .script = "/tests/kernel_net.sh",
				    .root = machine_root()};
	pid_t server = -1;

	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       squib_put(squib, "/metrics", "{\"metrics_path\": \"metrics\"}") &&
	       put_interface(squib) && squib_api_start(squib, 204) &&
	       (server = machine_spawn(squib, "serve tcp:10.1.0.1:5000 %d",
				       TRANSFERS * CONNECTIONS)) > 0 &&
	       carry(squib) && squib_expect(squib, "kernel net: done", NULL) &&
	       squib_ends(squib, 0) && machine_reap(squib, server, "serve");
}

/* Until the guest has all of it. */
static bool plug(struct squib *squib)
{
	uint64_t until = now_ms() + PLUG_MS;

	if (!squib_patch(squib, "/hotplug/memory", "{\"requested_size_mib\": %d}", PLUGGED_MIB)) {
		return false;
	}
	while (squib_api(squib, 200, "GET", "/hotplug/memory", "%s", "")) {
		if (squib_answer_number(squib, "plugged_size_mib") == PLUGGED_MIB) {
			return true;
		}
		if (now_ms() > until) {
			return squib_fail(squib, "the guest does not plug it in: %s",
					  squib->answer);
		}
		sleep_ms(100);
	}
	return false;
}

/* What waits in the guest's sockets, come by the host's kernel to memory that was plugged in. */
static bool run_memory(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1,
				    .mem_mib = 128,
				    .script = "/tests/kernel_net_memory.sh",
				    .root = machine_root()};
	pid_t server = -1;

	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       put_interface(squib) &&
	       squib_put(squib, "/hotplug/memory", "{\"total_size_mib\": %d}", 2 * PLUGGED_MIB) &&
	       squib_api_start(squib, 204) &&
	       (server = machine_spawn(squib, "serve tcp:10.1.0.1:5000 %d",
				       PLUGGED_TRANSFERS * CONNECTIONS + 1)) > 0 &&
	       machine_meet(squib, "small") && plug(squib) && machine_go_on(squib) &&
	       machine_meet(squib, "full") && saved_renew(squib, "Full", false) &&
	       machine_go_on(squib) && machine_meet(squib, "held") &&
	       saved_renew(squib, "Diff", false) && machine_go_on(squib) &&
	       squib_expect(squib, "kernel net: done", NULL) && squib_ends(squib, 0) &&
	       machine_reap(squib, server, "serve");
}

static bool run_refusals(struct squib *squib)
{
	const struct guest guest = {.vcpus = 1, .mem_mib = 64, .payload = "count"};

	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       put_interface(squib) && refuses(squib);
}

const struct device_test kernel_net_tests[] = {
	{"network: the host's kernel serves it (vhost-net), bound again, saved, loaded",
	 run_kernel_net, 300},
	{"network: the host's kernel (vhost-net) has memory that is plugged in, and a Diff what it "
	 "wrote",
	 run_memory, 300},
	{"vhost-net: what can't go with it is refused by name", run_refusals, 60},
	{NULL, NULL, 0},
};
