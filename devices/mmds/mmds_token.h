/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tokens of the metadata service. A token is the time of its end, encrypted: nothing is
 * kept of it, so that a guest can have any number of them.
 */
#ifndef DEVICES_MMDS_MMDS_TOKEN_H
#define DEVICES_MMDS_MMDS_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/attr.h"

enum {
	MMDS_TOKEN_TTL_MIN_S = 1, /* [compat] */
	MMDS_TOKEN_TTL_MAX_S = 21600,
	MMDS_TOKEN_LEN = 48,	 /* in base64 */
	MMDS_TOKEN_LEN_MAX = 70, /* of what is looked at as one [compat] */

	/* The mechanism's own. */
	MMDS_TOKEN_KEY_LEN = 32,
	MMDS_TOKEN_BINDING_LEN = 96,
};

/* What makes tokens and knows them again. */
struct mmds_tokens {
	char binding[MMDS_TOKEN_BINDING_LEN]; /* what a token is authenticated along with */
	uint8_t key[MMDS_TOKEN_KEY_LEN];
	bool has_key;
	uint32_t count; /* made with the key */
};

/* `id` is the machine's: the tokens of one are void at another. -1: the library fails. */
MUST_CHECK int mmds_tokens_init(struct mmds_tokens *tokens, const char *id);

/* Forgets the key, and with it all tokens. The next one gets a key of its own. */
void mmds_tokens_forget(struct mmds_tokens *tokens);

/*
 * Makes a token that is valid from `now_ns` (CLOCK_MONOTONIC) on for `ttl_s`, which is in the
 * limits, NUL-terminated. -1: the host has no randomness yet.
 */
MUST_CHECK int mmds_token_make(struct mmds_tokens *tokens, uint32_t ttl_s, uint64_t now_ns,
			       char token[MMDS_TOKEN_LEN + 1]);

/* Whether the text is a token that was made here, with the present key, and has not ended. */
bool mmds_token_is_valid(const struct mmds_tokens *tokens, const char *text, size_t len,
			 uint64_t now_ns);

#endif
