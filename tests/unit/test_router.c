/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/router.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

#define FAULT(text) API_FAULT(text)
#define LACKS(what) FAULT("This build of squib does not have " what " yet.")
#define BAD_JSON(text)                                                                             \
	FAULT("An error occurred when deserializing the json body of a request: " text ".")
#define BAD_ID FAULT("API Resource IDs can only contain alphanumeric characters and underscores.")
#define NO_ID FAULT("The ID cannot be empty.")
#define NO_BODY(method) FAULT("Empty " method " request.")
#define NO_PATH(what) FAULT("Invalid request method and/or path: " what ".")
#define NO_BELOW(method, path) FAULT("Unrecognized " method " request path `" path "`.")
#define GET_BODY FAULT("GET request cannot have a body.")

static const char version[] = "{\"firecracker_version\":\"1.17.0\"}";

static const char before[] =
	FAULT("The requested operation is not supported before starting the microVM.");

TestSuite(router, .init = api_bed_init, .fini = api_bed_destroy);

Test(router, surplus_slashes_and_tokens_are_ignored)
{
	static const struct api_bed_case requests[] = {
		{"GET /version", NULL, version},
		{"GET /version/", NULL, version},
		{"GET //version", NULL, version},
		{"GET /version/foo/bar/baz", NULL, version},
		{"PUT /actions/x", "{\"action_type\":\"InstanceStart\"}",
		 FAULT("Start microvm error: Cannot start microvm without kernel configuration.")},
		{"GET /balloon/", NULL, FAULT("Balloon config error: No balloon device found.")},
		{"GET /hotplug/memory/x", NULL,
		 FAULT("The requested operation is not supported before starting the microVM.")},
	};

	api_bed_expect_all(requests, ARRAY_COUNT(requests));
}

Test(router, unknown_paths_name_the_method_and_the_first_token)
{
	static const struct api_bed_case requests[] = {
		{"GET /foo", NULL, NO_PATH("GET foo")},
		{"GET /foo/bar", NULL, NO_PATH("GET foo")},
		{"GET /vm", NULL, NO_PATH("GET vm")},
		{"GET /vm/foo", NULL, NO_PATH("GET vm")},
		{"GET /hotplug", NULL, NO_PATH("GET hotplug")},
		{"GET /actions", NULL, NO_PATH("GET actions")},
		{"PUT /", "{}", NO_PATH("PUT ")},
		{"PUT /vm", "{}", NO_PATH("PUT vm")},
		{"PUT /hotplug/foo", "{}", NO_PATH("PUT hotplug")},
		{"PATCH /logger", "{}", NO_PATH("PATCH logger")},
		{"DELETE /", NULL, NO_PATH("DELETE ")},
		{"DELETE /vsock", NULL, NO_PATH("DELETE vsock")},
		{"GET /a\"b", NULL, NO_PATH("GET a\\\\\\\"b")},
		{"GET /\xff", NULL, NO_PATH("GET ?")},
	};

	api_bed_expect_all(requests, ARRAY_COUNT(requests));
}

Test(router, a_body_too_few_or_too_many_is_told_before_the_path)
{
	static const struct api_bed_case requests[] = {
		{"GET /", "{}", GET_BODY},
		{"GET /foo", "x", GET_BODY},
		{"PUT /actions", NULL, NO_BODY("PUT")},
		{"PUT /foo", NULL, NO_BODY("PUT")},
		{"PUT /mmds/foo", NULL, NO_BODY("PUT")},
		{"PUT /drives", NULL, NO_BODY("PUT")},
		{"PATCH /vm", NULL, NO_BODY("PATCH")},
		{"PATCH /foo", NULL, NO_BODY("PATCH")},
		{"PATCH /balloon", NULL, NO_BODY("PATCH")},
		{"PATCH /balloon/statistics", NULL, NO_BODY("PATCH")},
		{"DELETE /foo", "{}", NO_BODY("Delete")},
	};

	api_bed_expect_all(requests, ARRAY_COUNT(requests));
}

Test(router, unknown_paths_below_known_ones_have_their_own_words)
{
	static const struct api_bed_case requests[] = {
		{"GET /balloon/foo", NULL, NO_BELOW("GET", "foo")},
		{"GET /balloon/hinting", NULL, NO_BELOW("GET", "/hinting/")},
		{"GET /balloon/hinting/foo", NULL, NO_BELOW("GET", "/hinting/foo")},
		{"PATCH /balloon/hinting", NULL, NO_BELOW("PATCH", "/hinting/")},
		{"PATCH /balloon/hinting/foo", "{", NO_BELOW("PATCH", "/hinting/foo")},
		{"PUT /mmds/foo", "{", NO_BELOW("PUT", "foo")},
		{"PUT /snapshot", "{}", FAULT("Missing snapshot operation type.")},
		{"PUT /snapshot/foo", "{", NO_PATH("PUT /snapshot/foo")},
		/* But here the token is not looked at. */
		{"PATCH /balloon/foo", "{\"amount_mib\":1}", before},
	};

	api_bed_expect_all(requests, ARRAY_COUNT(requests));
}

Test(router, ids_are_checked_before_bodies)
{
	static const struct api_bed_case requests[] = {
		{"PUT /drives", "{", NO_ID},
		{"PUT /drives/", "{", NO_ID},
		{"PUT /drives//x", "{", NO_ID},
		{"PATCH /pmem", "{", NO_ID},
		{"DELETE /network-interfaces", NULL, NO_ID},
		{"PUT /drives/a-b", "{", BAD_ID},
		{"PUT /pmem/a.b", "{", BAD_ID},
		{"PATCH /network-interfaces/a%20b", "{", BAD_ID},
		{"DELETE /drives/a b", NULL, BAD_ID},
		{"DELETE /drives/a_Zz09", NULL, before},
		{"DELETE /drives/\xc3\xa9", NULL, before},
		{"DELETE /pmem/{id}", NULL, BAD_ID},
	};

	api_bed_expect_all(requests, ARRAY_COUNT(requests));
}

Test(router, faults_of_json_are_whole_sentences)
{
	static const struct api_bed_case requests[] = {
		{"PUT /machine-config", "{\"mem_size_mib\": 128}",
		 BAD_JSON("missing field `vcpu_count` at line 1 column 21")},
		{"PUT /vm", "{", NO_PATH("PUT vm")},
		{"PATCH /vm", "x", BAD_JSON("expected value at line 1 column 1")},
		{"PATCH /vm", "[]",
		 BAD_JSON("invalid type: sequence, expected struct Vm at line 1 column 0")},
		{"PATCH /vm", "{\"state\":\"Stopped\"}",
		 BAD_JSON("unknown variant `Stopped`, expected `Paused` or `Resumed` at line 1 "
			  "column 18")},
		{"PATCH /vm", "{\"a\\\"b\":1}",
		 BAD_JSON("unknown field `a\\\\\\\"b`, expected `state` at line 1 column 7")},
		{"PUT /logger", "{\"level\":\"loud\"}",
		 BAD_JSON("Invalid LevelFilter at line 1 column 16")},
		{"PATCH /balloon/hinting/start", "{\"acknowledge_on_stop\":1}",
		 BAD_JSON("invalid type: integer `1`, expected a boolean at line 1 column 24")},
	};

	api_bed_expect_all(requests, ARRAY_COUNT(requests));
}

Test(router, deprecated_inputs_are_told_whether_they_succeed_or_not)
{
	static const struct {
		const char *line;
		const char *body;
		bool is_deprecated;
	} cases[] = {
		{"PUT /machine-config",
		 "{\"vcpu_count\":1,\"mem_size_mib\":1,\"cpu_template\":\"None\"}", true},
		{"PUT /machine-config",
		 "{\"vcpu_count\":1,\"mem_size_mib\":1,\"cpu_template\":\"T2\"}", true},
		{"PUT /machine-config",
		 "{\"vcpu_count\":1,\"mem_size_mib\":1,\"cpu_template\":null}", false},
		{"PUT /machine-config", "{\"mem_size_mib\":1,\"cpu_template\":\"None\"}", false},
		{"PATCH /machine-config", "{\"cpu_template\":\"None\"}", true},
		{"PATCH /machine-config", "{\"smt\":false}", false},
		{"PUT /vsock", "{\"guest_cid\":3,\"uds_path\":\"none/u\",\"vsock_id\":\"v\"}",
		 true},
		{"PUT /vsock", "{\"guest_cid\":3,\"uds_path\":\"none/u\"}", false},
		{"PUT /mmds/config", "{\"network_interfaces\":[]}", true},
		{"PUT /mmds/config", "{\"network_interfaces\":[],\"version\":\"V1\"}", true},
		{"PUT /mmds/config", "{\"network_interfaces\":[],\"version\":\"V2\"}", false},
		{"PUT /snapshot/load", "{\"snapshot_path\":\"s\",\"mem_file_path\":\"m\"}", true},
		{"PUT /snapshot/load",
		 "{\"snapshot_path\":\"s\",\"enable_diff_snapshots\":true,\"mem_backend\":"
		 "{\"backend_path\":\"m\",\"backend_type\":\"File\"}}",
		 true},
		{"PUT /snapshot/load",
		 "{\"snapshot_path\":\"s\",\"track_dirty_pages\":true,\"mem_backend\":"
		 "{\"backend_path\":\"m\",\"backend_type\":\"Uffd\"}}",
		 false},
	};

	cr_assert_eq(chdir("/"), 0); /* where none of the paths can be made */
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct http_response response = api_bed_request(cases[i].line, cases[i].body);

		cr_expect_eq(response.is_deprecated, cases[i].is_deprecated, "%s %s", cases[i].line,
			     cases[i].body);
		free(response.body);
	}
}

/* --- The log --- */

/* The log of one request at `level`, without times and ids. */
static void log_of(enum log_level level, const char *line, const char *body, char *text, size_t len)
{
	char path[] = "/tmp/squib-router-XXXXXX";
	struct log_config config = {.path = path, .level = level, .show_level = LOG_SHOW};
	struct error err = {0};
	char entry[2048];

	close(mkstemp(path));
	cr_assert_eq(log_configure(&config, &err), 0, "%s", err.msg);
	free(api_bed_request(line, body).body);

	FILE *in = fopen(path, "r");

	text[0] = '\0';
	while (fgets(entry, sizeof(entry), in) != NULL) {
		char *rest = strstr(entry, ":main:");

		cr_assert_not_null(rest, "%s", entry);
		strncat(text, rest + 6, len - strlen(text) - 1);
	}
	fclose(in);
	unlink(path);
}

Test(router, requests_and_results_are_logged)
{
	static const struct {
		const char *line;
		const char *body;
		const char *text;
	} cases[] = {
		{"GET /version", NULL,
		 "INFO] The API server received a Get request on \"/version\".\n"
		 "INFO] The request was executed successfully. Status code: 200 OK.\n"},
		{"PUT /entropy", "{\"rate_limiter\":\nnull}",
		 "INFO] The API server received a Put request on \"/entropy\" with body "
		 "\"{\\\"rate_limiter\\\":\\nnull}\".\n"
		 "INFO] The request was executed successfully. Status code: 204 No Content.\n"},
		{"PUT /mmds", "{\"secret\":1}",
		 "INFO] The API server received a Put request on \"/mmds\".\n"
		 "INFO] The request was executed successfully. Status code: 204 No Content.\n"},
		{"PUT /cpu-config", "{}",
		 "INFO] The API server received a Put request on \"/cpu-config\". To view the "
		 "CPU template received by the API, configure log-level to DEBUG.\n"
		 "INFO] The request was executed successfully. Status code: 204 No Content.\n"},
		{"DELETE /foo", NULL,
		 "INFO] The API server received a Delete request on \"/foo\".\n"
		 "ERROR] Received Error. Status code: 400 Bad Request. Message: Invalid request "
		 "method and/or path: DELETE foo.\n"},
		{"PATCH /machine-config", "{\"cpu_template\":\"None\"}",
		 "INFO] The API server received a Patch request on \"/machine-config\" with body "
		 "\"{\\\"cpu_template\\\":\\\"None\\\"}\".\n"
		 "INFO] The request was executed successfully. Status code: 204 No Content.\n"
		 "WARN] PATCH /machine-config: cpu_template field is deprecated.\n"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		char text[4096];

		log_of(LOG_INFO, cases[i].line, cases[i].body, text, sizeof(text));
		cr_expect_str_eq(text, cases[i].text, "%s", text);
	}
}

/* Lines of the VMM thread come first. */
Test(router, durations_are_logged, .timeout = 10)
{
	char text[4096];
	unsigned us;
	int end = 0;

	api_bed_start();
	log_of(LOG_INFO, "PATCH /vm", "{\"state\":\"Resumed\"}", text, sizeof(text));
	cr_expect_not_null(strstr(text, "INFO] 'resume vm' API request took "), "%s", text);
	log_of(LOG_DEBUG, "PATCH /vm", "{\"state\":\"Paused\"}", text, sizeof(text));

	const char *duration = strstr(text, "INFO] 'pause vm' API request took ");

	cr_assert_not_null(duration, "%s", text);
	cr_expect_eq(sscanf(duration,
			    "INFO] 'pause vm' API request took %u us.\n"
			    "DEBUG] Total previous API call duration: %u us.\n%n",
			    &us, &us, &end),
		     2, "%s", text);
	cr_expect_eq((size_t)end, strlen(duration), "%s", text);
}

Test(router, the_cpu_template_is_logged_at_debug)
{
	char text[4096];

	log_of(LOG_DEBUG, "PUT /cpu-config", "{\"x\":1}", text, sizeof(text));
	cr_expect_not_null(strstr(text, "\"/cpu-config\" with body \"{\\\"x\\\":1}\"."), "%s",
			   text);
}

Test(router, a_long_body_is_cut_in_the_log)
{
	static char body[40000];
	char text[4096];

	memset(body, 'a', sizeof(body) - 1);
	log_of(LOG_INFO, "PUT /serial", body, text, sizeof(text));
	cr_expect_not_null(strstr(text, "aaa\".\nERROR]"), "%s", text);
}
