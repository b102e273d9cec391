/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service under Linux: on one of two interfaces, beside traffic on its TAP. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/devices/host_net.h"
#include "tests/devices/machine.h"

enum {
	NUMBERS = 65536, /* of 6 bytes each, which the guest's seq makes as well */
	NUMBER_LEN = 6,
	MANY_NUMBERS = 160000, /* of 7 bytes each: more than 1 MiB */
	MANY_NUMBERS_LEN = 7,
	CONNECTIONS = 200 + 14, /* one for each question of the guest */
};

/* The first data, which come from a file: more than a client's request of the tests has room for.
 */
static bool write_data(struct squib *squib, unsigned numbers, int number_len)
{
	static char data[MANY_NUMBERS * MANY_NUMBERS_LEN + 256];
	size_t len = (size_t)snprintf(data, sizeof(data), "{\"big\": \"");

	for (unsigned i = 1; i <= numbers; i++) {
		len += (size_t)snprintf(data + len, sizeof(data) - len, "%0*u,", number_len - 1, i);
	}
	snprintf(data + len, sizeof(data) - len,
		 "\", \"list\": [1, 2], \"latest\": {\"meta-data\": "
		 "{\"ami-id\": \"ami-1\", \"tags\": {\"role\": \"web\"}}}}");
	return squib_write(squib, "data.json", data);
}

/* The service is on eth0, and needs nothing of its TAP. */
static bool serve(struct squib *squib, const char *root, const char *script, const char *config)
{
	static const char *const args[] = {"--metadata", "data.json", "--mmds-size-limit",
					   "2000000", NULL};
	const struct guest guest = {
		.vcpus = 2,
		.mem_mib = 192,
		.script = script,
		.root = root,
		.args = args,
	};

	return host_net_isolate(squib) && machine_configure(squib, &guest) &&
	       squib_put(squib, "/metrics", "{\"metrics_path\": \"metrics\"}") &&
	       squib_put(squib, "/network-interfaces/eth0",
			 "{\"iface_id\": \"eth0\", \"host_dev_name\": \"tap0\"}") &&
	       squib_put(squib, "/mmds/config", "%s", config);
}

static bool configure(struct squib *squib, const char *script, const char *config)
{
	return write_data(squib, NUMBERS, NUMBER_LEN) &&
	       serve(squib, machine_root(), script, config) &&
	       squib_put(squib, "/network-interfaces/eth1",
			 "{\"iface_id\": \"eth1\", \"host_dev_name\": \"tap1\"}") &&
	       host_net_up(squib, "tap0", "10.1.0.1", 1500) &&
	       host_net_up(squib, "tap1", "10.2.0.1", 1500);
}

/* Changes the data, and pauses the guest on the occasion. */
static bool change(struct squib *squib)
{
	return machine_meet(squib, "to be patched") &&
	       squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_patch(squib, "/mmds",
			   "{\"latest\": {\"meta-data\": {\"tags\": "
			   "{\"role\": null, \"zone\": \"a\"}}}}") &&
	       squib_patch(squib, "/vm", "{\"state\": \"Resumed\"}") && machine_go_on(squib);
}

static bool is_counted(struct squib *squib, const char *field, long least, long most)
{
	long count = machine_metric(squib, "mmds", field);

	return (count >= least && count <= most) ||
	       squib_fail(squib, "mmds counts %ld %s, not %ld to %ld", count, field, least, most);
}

static bool is_all_counted(struct squib *squib)
{
	return machine_flush_metrics(squib) &&
	       is_counted(squib, "connections_created", CONNECTIONS, LONG_MAX) &&
	       is_counted(squib, "connections_destroyed", CONNECTIONS - 1, LONG_MAX) &&
	       is_counted(squib, "rx_no_token", 1, 1) &&
	       is_counted(squib, "rx_invalid_token", 1, 1) &&
	       is_counted(squib, "rx_accepted_err", 0, 0) &&
	       is_counted(squib, "rx_bad_eth", 0, 0) && is_counted(squib, "tx_errors", 0, 0) &&
	       is_counted(squib, "tx_bytes", (long)NUMBERS * NUMBER_LEN, LONG_MAX);
}

static bool run_v2(struct squib *squib)
{
	bool ok = configure(squib, "/tests/metadata.sh V2",
			    "{\"version\": \"V2\", \"network_interfaces\": [\"eth0\"]}");
	/* For the guest's client, in this namespace. */
	pid_t server = ok ? machine_spawn(squib, "%s/run iperf3 -s -4", env("LOAD_DIR")) : -1;

	ok = ok && squib_api_start(squib, 204) && squib_expect(squib, "ok: answers", NULL) &&
	     squib_expect(squib, "ok: 384 KiB", NULL) && change(squib) &&
	     squib_expect(squib, "ok: 200 connections amid streams", NULL) &&
	     machine_meet(squib, "all asked") && is_all_counted(squib) && machine_go_on(squib) &&
	     squib_expect(squib, "metadata: done", NULL) && squib_ends(squib, 0);
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	return ok;
}

static bool run_v1(struct squib *squib)
{
	return configure(squib, "/tests/metadata.sh V1",
			 "{\"version\": \"V1\", \"network_interfaces\": [\"eth0\"], "
			 "\"ipv4_address\": \"169.254.170.2\", \"imds_compat\": true}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "metadata: done", NULL) &&
	       squib_ends(squib, 0);
}

/* What a guest in EC2 finds, as far as AWS's SDKs look: that of docs/mmds.md. */
static const char clients_data[] =
	"{\"latest\": {\"meta-data\": {\"ami-id\": \"ami-1\", \"instance-id\": "
	"\"i-0123456789abcdef0\", \"tags\": {\"role\": \"web\"}, "
	"\"placement\": {\"availability-zone\": \"eu-west-1a\"}, "
	"\"iam\": {\"security-credentials\": {\"builder\": "
	"\"{\\\"Code\\\": \\\"Success\\\", \\\"AccessKeyId\\\": \\\"key-id\\\", "
	"\\\"SecretAccessKey\\\": \\\"secret\\\", \\\"Token\\\": \\\"token\\\", "
	"\\\"Expiration\\\": \\\"2099-01-01T00:00:00Z\\\"}\"}}}, "
	"\"dynamic\": {\"instance-identity\": {\"document\": "
	"\"{\\\"region\\\": \\\"eu-west-1\\\"}\"}}, \"user-data\": \"#!/bin/sh\"}}";

static bool run_clients(struct squib *squib, const char *script, const char *config)
{
	return squib_write(squib, "data.json", clients_data) &&
	       serve(squib, machine_clients(), script, config) && squib_api_start(squib, 204) &&
	       squib_expect(squib, "clients: done", NULL) && squib_ends(squib, 0);
}

static bool run_clients_v1(struct squib *squib)
{
	return run_clients(squib, "/tests/clients.sh V1",
			   "{\"version\": \"V1\", \"network_interfaces\": [\"eth0\"], "
			   "\"imds_compat\": true}");
}

static bool run_clients_v2(struct squib *squib)
{
	return run_clients(squib, "/tests/clients.sh V2",
			   "{\"version\": \"V2\", \"network_interfaces\": [\"eth0\"]}");
}

static bool run_wire(struct squib *squib)
{
	return write_data(squib, MANY_NUMBERS, MANY_NUMBERS_LEN) &&
	       serve(squib, machine_clients(), "/tests/wire.sh",
		     "{\"version\": \"V2\", \"network_interfaces\": [\"eth0\"]}") &&
	       squib_api_start(squib, 204) && squib_expect(squib, "wire: done", NULL) &&
	       squib_ends(squib, 0);
}

const struct device_test metadata_tests[] = {
	{"metadata: tokens, 384 KiB, PATCH, 200 connections amid streams, unbind", run_v2, 600},
	{"metadata: version 1 as EC2's, at another address", run_v1, 300},
	{"metadata: curl, wget, Python, AWS's SDKs, version 1", run_clients_v1, 600},
	{"metadata: curl, wget, Python, AWS's SDKs, version 2", run_clients_v2, 600},
	{"metadata: 1 MiB while frames are lost, doubled and late, both ways", run_wire, 600},
	{NULL, NULL, 0},
};
