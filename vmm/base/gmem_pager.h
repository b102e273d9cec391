/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory whose pages another program brings, when they are first touched: Firecracker's page
 * fault handlers, by userfaultfd [compat].
 */
#ifndef VMM_BASE_GMEM_PAGER_H
#define VMM_BASE_GMEM_PAGER_H

#include "vmm/base/attr.h"
#include "vmm/base/error.h"
#include "vmm/base/gmem.h"
#include "vmm/base/text.h"

enum {
	GMEM_DESCRIBE_MAX = 256 * GMEM_REGIONS_MAX /* bytes */
};

/*
 * Appends where all regions are in this process and in a memory file, as the JSON array of the
 * handshake: at most GMEM_DESCRIBE_MAX bytes.
 */
void gmem_describe(const struct gmem *mem, struct text *text);

/* A userfaultfd, which the caller closes. Without the right to have one the sentence says how to
 * get it. */
MUST_CHECK int gmem_pager_new_uffd(int *uffd, struct error *err);

/* What keeps the handler working. Zeroed: there is none. */
struct gmem_pager {
	bool is_made;
	int uffd; /* ours, so that pages stay missing if the handler ends: a guest stands still then
		   */
	int socket; /* the handler learns by it who we are, and that we ended */
};

/*
 * Of memory that nothing was written to: registers all regions (GMEM_ANON, GMEM_ANON_THP or
 * GMEM_HUGE_2M) and hands them to the handler that listens at the Unix socket `path`. From here on
 * whoever touches a page that is missing waits for the handler, the VMM thread as well as vCPUs.
 * gmem_pager_close takes a zeroed pager; the memory is to be freed first.
 */
MUST_CHECK int gmem_pager_open(struct gmem *mem, const char *path, struct gmem_pager *pager,
			       struct error *err);
void gmem_pager_close(struct gmem_pager *pager);

#endif
