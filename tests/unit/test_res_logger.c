/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of api/res_logger.c; the log of this process is what they look at. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/res_logger.h"
#include "tests/lib/resource_put.h"
#include "vmm/base/bytes.h"
#include "vmm/base/log.h"

static int put(const char *text, struct error *err)
{
	struct controller controller = {0};

	return controller_put(res_logger_put, text, &controller, err);
}

Test(res_logger, the_level_falls_back_to_info)
{
	struct error err = {0};

	cr_assert_eq(put("{\"level\":\"tRACE\"}", &err), 0, "%s", err.msg);
	cr_expect(log_enabled(LOG_TRACE, "api/x.c"));
	cr_assert_eq(put("{}", &err), 0, "%s", err.msg);
	cr_expect(log_enabled(LOG_INFO, "api/x.c"));
	cr_expect_not(log_enabled(LOG_DEBUG, "api/x.c"));
	cr_assert_eq(put("{\"level\":null,\"module\":\"vmm/\"}", &err), 0, "%s", err.msg);
	cr_expect(log_enabled(LOG_INFO, "vmm/x.c"));
	cr_expect_not(log_enabled(LOG_INFO, "api/x.c"));
}

/* The n-th line (from 1) of the log file, in a static buffer. */
static const char *log_line(const char *path, unsigned number)
{
	static char line[256];
	FILE *in = fopen(path, "r");

	line[0] = '\0';
	for (unsigned i = 0; i < number; i++) {
		cr_assert_not_null(fgets(line, sizeof(line), in), "line %u", number);
	}
	fclose(in);
	return line;
}

Test(res_logger, what_lines_show_survives_a_put_that_does_not_mention_it)
{
	char path[] = "/tmp/squib-logger-XXXXXX";
	char body[128];
	struct error err = {0};

	close(mkstemp(path));
	snprintf(body, sizeof(body), "{\"log_path\":\"%s\",\"show_level\":true}", path);
	cr_assert_eq(put(body, &err), 0, "%s", err.msg);
	log_info("one");
	cr_expect_not_null(strstr(log_line(path, 1), ":INFO] one"), "%s", log_line(path, 1));

	cr_assert_eq(put("{\"show_log_origin\":true}", &err), 0, "%s", err.msg);
	log_info("two");
	cr_expect_not_null(strstr(log_line(path, 2), ":INFO:"), "%s", log_line(path, 2));
	cr_expect_not_null(strstr(log_line(path, 2), "test_res_logger.c:"));

	cr_assert_eq(put("{\"show_level\":false,\"show_log_origin\":false}", &err), 0);
	log_info("three");
	cr_expect_not_null(strstr(log_line(path, 3), ":main] three"), "%s", log_line(path, 3));
	unlink(path);
}

Test(res_logger, faults_change_nothing)
{
	static const struct {
		const char *text;
		const char *msg;
	} cases[] = {
		{"{\"level\":\"loud\"}", "Bad: Invalid LevelFilter: loud"},
		{"{\"level\":3}",
		 "Bad: invalid type: integer `3`, expected a string at line 1 column 10"},
		{"{\"path\":\"x\"}",
		 "Bad: unknown field `path`, expected one of `log_path`, `level`, `show_level`, "
		 "`show_log_origin`, `module` at line 1 column 7"},
		{"{\"level\":\"Trace\",\"log_path\":\"/no/such/folder/log\"}",
		 "Logger error: Failed to open target file: No such file or directory (os error "
		 "2)"},
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		struct error err = {0};

		cr_expect_eq(put(cases[i].text, &err), -1, "%s", cases[i].text);
		cr_expect_str_eq(err.msg, cases[i].msg, "%s: %s", cases[i].text, err.msg);
		cr_expect(log_enabled(LOG_INFO, "api/x.c"));
		cr_expect_not(log_enabled(LOG_DEBUG, "api/x.c"));
	}
}
