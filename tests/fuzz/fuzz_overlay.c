/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes requests to an overlay on a disk that is played (tests/lib/overlay_sim.h): an input is a
 * program of requests, of calls that take effect and end in any order, of kills and power losses.
 * Whatever it does, each sector has what a plain disk would have, or what that may have lost.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/lib/overlay_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0) {
		overlay_sim_play(data + 1, size - 1, (data[0] & 1) != 0);
	}
	return 0;
}
