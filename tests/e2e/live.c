/* SPDX-License-Identifier: Apache-2.0 */
/* A squib whose API and console the test uses. */
#include "tests/e2e/live.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/api_client.h"

enum {
	BODY_LEN = 1024
};

bool live_fail(struct live *live, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (live->failure[0] == '\0') {
		vsnprintf(live->failure, sizeof(live->failure), fmt, args);
	}
	va_end(args);
	return false;
}

bool live_init(struct live *live)
{
	*live = (struct live){.api = -1, .typing = -1};
	return squib_init(&live->squib) || live_fail(live, "no directory");
}

void live_destroy(struct live *live)
{
	squib_destroy(&live->squib);
	close(live->api);
	close(live->typing);
}

bool live_start(struct live *live)
{
	const char *const args[] = {"--api-sock", "api.sock", "--log-path", "log", NULL};
	char path[PATH_LEN + 16];
	int typing[2];

	if (pipe2(typing, O_CLOEXEC) < 0) {
		return live_fail(live, "no pipe");
	}
	live->typing = typing[1];
	live->squib.in = typing[0];
	bool is_started = squib_start(&live->squib, args);

	close(typing[0]);
	live->squib.in = -1;
	snprintf(path, sizeof(path), "%s/api.sock", live->squib.dir);
	live->api = is_started ? api_connect(path, LIVE_PATIENCE_MS) : -1;
	return live->api >= 0 || live_fail(live, "no squib");
}

bool live_api(struct live *live, unsigned status, const char *method, const char *path,
	      const char *fmt, ...)
{
	char body[BODY_LEN];
	va_list args;

	va_start(args, fmt);
	int body_len = vsnprintf(body, sizeof(body), fmt, args);

	va_end(args);
	unsigned seen = api_ask(live->api, method, path, body_len > 0 ? body : NULL, live->answer,
				sizeof(live->answer), LIVE_PATIENCE_MS);

	return seen == status ||
	       live_fail(live, "%s %s is answered %u: %s", method, path, seen, live->answer);
}

bool live_instance_start(struct live *live, unsigned status)
{
	return live_api(live, status, "PUT", "/actions", "{\"action_type\": \"InstanceStart\"}");
}

bool live_console(struct live *live, const char *line, const char *text)
{
	uint64_t until = now_ms() + LIVE_BOOT_MS;
	size_t len = strlen(line);
	bool is_seen = false;

	if (write(live->typing, line, len) != (ssize_t)len) {
		return live_fail(live, "cannot type");
	}
	while (!is_seen && live->failure[0] == '\0') {
		char *out = squib_file(&live->squib, "out", &len);

		is_seen = out != NULL && strstr(out, text) != NULL;
		if (!is_seen && now_ms() > until) {
			live_fail(live, "the console has not \"%s\" but %.300s", text,
				  out != NULL && len > 300 ? out + len - 300 : out);
		}
		free(out);
		sleep_ms(50);
	}
	return is_seen;
}
