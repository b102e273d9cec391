/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket of any size at any times. EVA knows no 128-bit numbers: products are 64 bits wide
 * here, so what is shown is that nothing is divided by 0 or shifted too far, not what comes out.
 */
#include "tests/eva/eva.h"

#define __int128 long

#include "vmm/base/ratelimit.c"

void main(void)
{
	struct token_bucket bucket;

	token_bucket_init(&bucket, any_u64(), any_u64(), any_u64(), any_u64());
	for (int i = 0; i < 3; i++) {
		(void)!token_bucket_take(&bucket, any_u64(), any_u64());
		(void)token_bucket_wait(&bucket, any_u64(), any_u64());
	}
	struct token_bucket_state state;

	token_bucket_save(&bucket, any_u64(), &state);
	keep(state.debt_ns + state.elapsed_ns);
	/* From a file: any numbers, of this limit or another one. */
	fill(&state, sizeof(state));
	token_bucket_init(&bucket, any_u64(), any_u64(), any_u64(), any_u64());
	if (any_bool()) {
		state.size = bucket.size;
		state.refill_ns = bucket.refill_ns;
	}
	token_bucket_load(&bucket, any_u64(), &state);
	keep(token_bucket_take(&bucket, any_u64(), any_u64()));
	keep(token_bucket_wait(&bucket, any_u64(), any_u64()));
}
