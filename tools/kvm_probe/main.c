/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_probe: finds out what this host's /dev/kvm can run, by running it. Prints one word:
 *
 *	none     there is none, or it is unusable: standard error has the reason
 *	payload  it runs integer code, but not all that Linux needs: it interprets its guests
 *	linux    it runs Linux, on the processor's virtualization
 *
 * Tests choose by that word what they can run here. The exit status is 0 for each.
 */
#include <stdio.h>

#include "tools/kvm_probe/kvm_probe.h"

int main(void)
{
	static const char *const words[] = {
		[PROBE_FAILED] = "none",
		[PROBE_INTEGER] = "payload",
		[PROBE_ALL] = "linux",
	};
	struct error err = {0};
	enum probe_progress reached = kvm_probe(&err);

	if (reached != PROBE_ALL) {
		fprintf(stderr, "kvm_probe: %s\n", err.msg);
	}
	puts(words[reached]);
	return 0;
}
