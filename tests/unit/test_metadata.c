/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of vmm/resources/mmds.c: how guests reach their metadata. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_bed.h"
#include "vmm/base/bytes.h"
#include "vmm/resources/resource.h"

static struct vm_config *config;

static void set_up(void)
{
	api_bed_init();
	config = &api_bed.microvm.config;
}

static void tear_down(void)
{
	api_bed_destroy();
}

TestSuite(metadata, .init = set_up, .fini = tear_down);

/* As if its TAP had been opened: that needs rights which a test may not have. */
static void add_interface(const char *id)
{
	config->nets = reallocarray(config->nets, config->net_count + 1, sizeof(config->nets[0]));
	config->nets[config->net_count++] = (struct net_interface){
		.config = {.iface_id = strdup(id), .host_dev_name = strdup("tap")},
		.connection = -1,
		.link = {.fd = -1},
	};
}

/* PUT /mmds/config */
static void put(const char *body)
{
	struct request request = {.resource = &mmds_config_resource,
				  .method = &mmds_config_resource.methods[HTTP_PUT]};
	struct error err = {0};
	struct json_doc doc;
	struct json_value root;

	cr_assert_eq(json_doc_load(body, strlen(body), "Bad", &doc, &err), 0);
	root = json_doc_root(&doc);
	cr_assert_eq(request_read(&request, &root, &err), 0, "%s", err.msg);
	json_doc_free(&doc);
	cr_expect_eq(request_run(&api_bed.microvm, &request, &err), 0, "%s", err.msg);
	request_destroy(&request);
}

static void expect_shown(const char *expected)
{
	struct http_response response = api_bed_request("GET /vm/config", NULL);
	json_t *all = json_loadb(response.body, response.body_len, 0, NULL);
	json_t *shown = json_object_get(all, "mmds-config");
	char *text = json_dumps(shown, JSON_COMPACT | JSON_ENCODE_ANY);

	cr_expect_str_eq(text, expected, "%s", text);
	free(text);
	json_decref(all);
	free(response.body);
}

Test(metadata, a_configuration_is_shown_and_kept)
{
	static const uint8_t usual[] = {169, 254, 169, 254};
	static const uint8_t other[] = {169, 254, 1, 2};
	const struct mmds_settings *settings;

	add_interface("a");
	add_interface("b");
	put("{\"network_interfaces\":[\"b\"]}");
	expect_shown("{\"version\":\"V1\",\"network_interfaces\":[\"b\"],"
		     "\"ipv4_address\":\"169.254.169.254\",\"imds_compat\":false}");
	settings = mmds_settings(config->metadata.mmds);
	cr_expect_eq(settings->version, MMDS_V1);
	cr_expect_eq(memcmp(settings->address, usual, sizeof(usual)), 0);

	put("{\"version\":\"V2\",\"network_interfaces\":[\"b\",\"a\"],"
	    "\"ipv4_address\":\"169.254.1.2\",\"imds_compat\":true}");
	expect_shown("{\"version\":\"V2\",\"network_interfaces\":[\"b\",\"a\"],"
		     "\"ipv4_address\":\"169.254.1.2\",\"imds_compat\":true}");
	settings = mmds_settings(config->metadata.mmds);
	cr_expect_eq(settings->version, MMDS_V2);
	cr_expect(settings->imds_compat);
	cr_expect_eq(memcmp(settings->address, other, sizeof(other)), 0);
}

Test(metadata, a_configuration_keeps_the_data)
{
	add_interface("a");
	api_bed_expect("PUT /mmds", "{\"x\":1}", NULL);
	put("{\"network_interfaces\":[\"a\"]}");
	api_bed_expect("GET /mmds", NULL, "{\"x\":1}");
}

Test(metadata, a_machine_with_a_configuration_has_its_data_after_the_start)
{
	add_interface("a");
	put("{\"network_interfaces\":[\"a\"]}");
	/* No TAP, no device. */
	net_resource.clear(config);
	api_bed_expect("PUT /mmds", "{\"x\":1}", NULL);
	api_bed_put_kernel();
	api_bed_start();
	api_bed_expect("GET /mmds", NULL, "{\"x\":1}");
	api_bed_expect("PATCH /mmds", "{\"y\":18446744073709551615}", NULL);
	api_bed_expect("GET /mmds", NULL, "{\"x\":1,\"y\":18446744073709551615}");
	api_bed_expect("PUT /mmds", "{}", NULL);
	api_bed_expect("GET /mmds", NULL, "{}");
}

Test(metadata, its_metrics_are_told_as_long_as_it_is_there)
{
	struct metrics *metrics = &api_bed.telemetry.metrics;
	struct api_bed_mark before = api_bed_mark();

	api_bed_expect("GET /mmds", NULL, "{}");
	api_bed_expect("PUT /mmds", "[]", NULL);
	cr_assert_not_null(config->metadata.mmds);
	metric_add(&mmds_metrics(config->metadata.mmds)->rx_no_token, 7);

	char *text = NULL;
	size_t len;
	struct error err = {0};

	cr_assert_eq(metrics_format_openmetrics(metrics, &text, &len, &err), 0);
	cr_expect_not_null(strstr(text, "mmds_rx_no_token_total 7\n"), "%s", text);
	free(text);
	mmds_resource.clear(config);
	api_bed_expect_same(&before, "cleared");
}
