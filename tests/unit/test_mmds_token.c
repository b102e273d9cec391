/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of devices/mmds/mmds_token.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "devices/mmds/mmds_token.h"
#include "vmm/base/bytes.h"

static const uint64_t second = 1000000000;

static void init(struct mmds_tokens *tokens, const char *id)
{
	cr_assert_eq(mmds_tokens_init(tokens, id), 0);
}

static bool is_valid(const struct mmds_tokens *tokens, const char *token, uint64_t now_ns)
{
	return mmds_token_is_valid(tokens, token, strlen(token), now_ns);
}

Test(mmds_token, a_token_is_valid_until_its_time_is_over)
{
	static const uint32_t ttls[] = {MMDS_TOKEN_TTL_MIN_S, 60, MMDS_TOKEN_TTL_MAX_S};
	const uint64_t now = 5 * second;
	struct mmds_tokens tokens;

	init(&tokens, "vm");
	for (size_t i = 0; i < ARRAY_COUNT(ttls); i++) {
		char token[MMDS_TOKEN_LEN + 1];
		uint64_t end = now + ttls[i] * second;

		cr_assert_eq(mmds_token_make(&tokens, ttls[i], now, token), 0);
		cr_expect_eq(strlen(token), MMDS_TOKEN_LEN);
		cr_expect(is_valid(&tokens, token, now));
		cr_expect(is_valid(&tokens, token, end - 1));
		cr_expect_not(is_valid(&tokens, token, end));
		cr_expect_not(is_valid(&tokens, token, UINT64_MAX));
	}
}

Test(mmds_token, no_two_tokens_are_the_same)
{
	struct mmds_tokens tokens;
	char one[MMDS_TOKEN_LEN + 1];
	char other[MMDS_TOKEN_LEN + 1];

	init(&tokens, "vm");
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, one), 0);
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, other), 0);
	cr_expect(strcmp(one, other) != 0);
	cr_expect(is_valid(&tokens, one, 0));
	cr_expect(is_valid(&tokens, other, 0));
}

Test(mmds_token, each_changed_character_is_noticed)
{
	struct mmds_tokens tokens;
	char token[MMDS_TOKEN_LEN + 1];

	init(&tokens, "vm");
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, token), 0);
	for (size_t i = 0; i < MMDS_TOKEN_LEN; i++) {
		char old = token[i];

		token[i] = old == 'A' ? 'B' : 'A';
		cr_expect_not(is_valid(&tokens, token, 0), "character %zu", i);
		token[i] = old;
	}
	cr_expect(is_valid(&tokens, token, 0));
}

Test(mmds_token, other_lengths_and_letters_are_no_tokens)
{
	struct mmds_tokens tokens;
	char text[MMDS_TOKEN_LEN_MAX + 8];

	init(&tokens, "vm");
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, text), 0);
	cr_expect_not(mmds_token_is_valid(&tokens, text, 0, 0));
	cr_expect_not(mmds_token_is_valid(&tokens, text, MMDS_TOKEN_LEN - 1, 0));
	cr_expect_not(mmds_token_is_valid(&tokens, text, MMDS_TOKEN_LEN - 4, 0));
	memset(text + MMDS_TOKEN_LEN, 'A', sizeof(text) - MMDS_TOKEN_LEN);
	for (size_t len = MMDS_TOKEN_LEN + 1; len <= sizeof(text); len++) {
		cr_expect_not(mmds_token_is_valid(&tokens, text, len, 0), "length %zu", len);
	}
	memset(text, '\xff', sizeof(text));
	cr_expect_not(mmds_token_is_valid(&tokens, text, MMDS_TOKEN_LEN, 0));
}

Test(mmds_token, tokens_are_bound_to_the_machine)
{
	struct mmds_tokens tokens;
	struct mmds_tokens other;
	char token[MMDS_TOKEN_LEN + 1];

	init(&tokens, "vm1");
	init(&other, "vm2");
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, token), 0);
	cr_expect_not(is_valid(&other, token, 0), "it has no key yet");
	/* Both have one key, as after a fork. */
	memcpy(other.key, tokens.key, sizeof(other.key));
	other.has_key = true;
	cr_expect_not(is_valid(&other, token, 0));
}

Test(mmds_token, tokens_end_with_their_key)
{
	static const uint8_t no_key[MMDS_TOKEN_KEY_LEN];
	struct mmds_tokens tokens;
	char token[MMDS_TOKEN_LEN + 1];
	char next[MMDS_TOKEN_LEN + 1];

	init(&tokens, "vm");
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, token), 0);
	mmds_tokens_forget(&tokens);
	cr_expect_eq(memcmp(tokens.key, no_key, sizeof(no_key)), 0, "the old key is still there");
	cr_expect_not(is_valid(&tokens, token, 0));
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, next), 0);
	cr_expect_not(is_valid(&tokens, token, 0));
	cr_expect(is_valid(&tokens, next, 0));
	cr_expect_neq(memcmp(tokens.key, no_key, sizeof(no_key)), 0, "there is no new key");
}

Test(mmds_token, a_key_makes_no_more_tokens_than_nonces_allow)
{
	struct mmds_tokens tokens;
	char last[MMDS_TOKEN_LEN + 1];
	char next[MMDS_TOKEN_LEN + 1];

	init(&tokens, "vm");
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, last), 0);
	tokens.count = UINT32_MAX - 1;
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, last), 0);
	cr_expect(is_valid(&tokens, last, 0));
	cr_assert_eq(mmds_token_make(&tokens, 60, 0, next), 0);
	cr_expect(is_valid(&tokens, next, 0));
	cr_expect_not(is_valid(&tokens, last, 0));
}
