/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are saved, and go on in another process. */
#include "tests/devices/saved.h"

#include <unistd.h>

bool saved_save(struct squib *squib, const char *type)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Paused\"}") &&
	       squib_put(squib, "/snapshot/create",
			 "{\"snapshot_type\": \"%s\", \"snapshot_path\": \"state\", "
			 "\"mem_file_path\": \"memory\"}",
			 type);
}

bool saved_resume(struct squib *squib)
{
	return squib_patch(squib, "/vm", "{\"state\": \"Resumed\"}");
}

bool saved_load(struct squib *squib, const char *more)
{
	char path[PATH_LEN];

	/* A socket that the ended process has left. */
	squib_path(squib, "v.sock", path);
	unlink(path);
	return squib_put(squib, "/snapshot/load",
			 "{\"snapshot_path\": \"state\", \"mem_backend\": {\"backend_path\": "
			 "\"memory\", \"backend_type\": \"File\"}%s}",
			 more);
}

bool saved_renew(struct squib *squib, const char *type, bool is_tracked)
{
	return saved_save(squib, type) && squib_replace(squib, NULL) &&
	       saved_load(squib, is_tracked ? SAVED_RESUMES SAVED_TRACKS : SAVED_RESUMES);
}
