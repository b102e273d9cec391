/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens by ChaCha20-Poly1305 [RFC 8439].
 *
 * Theory of operation. A token is a random nonce, the encrypted time of its end in nanoseconds, and
 * the tag that authenticates both and the machine's id; in base64. The key is made with the first
 * token. A nonce that came twice under one key would give the key of the tags away: with random
 * ones of 96 bits that is improbable for as many tokens as one key makes.
 */
#include "devices/mmds/mmds_token.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/random.h>

#include "vmm/base/bytes.h"
#include "vmm/base/clock.h"

enum {
	NONCE_LEN = crypto_aead_chacha20poly1305_ietf_NPUBBYTES,
	TAG_LEN = crypto_aead_chacha20poly1305_ietf_ABYTES,
	END_LEN = sizeof(uint64_t),
};

/* What base64 has. */
struct token {
	uint8_t nonce[NONCE_LEN];
	uint8_t end[END_LEN]; /* encrypted */
	uint8_t tag[TAG_LEN];
};

_Static_assert(sodium_base64_ENCODED_LEN(sizeof(struct token), sodium_base64_VARIANT_ORIGINAL) ==
		       MMDS_TOKEN_LEN + 1,
	       "a token's length");
_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == MMDS_TOKEN_KEY_LEN, "a key's length");

int mmds_tokens_init(struct mmds_tokens *tokens, const char *id)
{
	*tokens = (struct mmds_tokens){0};
	(void)!snprintf(tokens->binding, sizeof(tokens->binding), "microvmid=%s", id);
	return sodium_init() < 0 ? -1 : 0;
}

void mmds_tokens_forget(struct mmds_tokens *tokens)
{
	sodium_memzero(tokens->key, sizeof(tokens->key));
	tokens->has_key = false;
	tokens->count = 0;
}

/* Never waits: see devices/virtio/rng.c. */
static int fill_random(void *to, size_t len)
{
	return getrandom(to, len, GRND_NONBLOCK) == (ssize_t)len ? 0 : -1;
}

static int want_key(struct mmds_tokens *tokens)
{
	if (tokens->count == UINT32_MAX) {
		mmds_tokens_forget(tokens);
	}
	if (tokens->has_key) {
		return 0;
	}
	if (fill_random(tokens->key, sizeof(tokens->key)) < 0) {
		return -1;
	}
	tokens->has_key = true;
	return 0;
}

static const unsigned char *binding_of(const struct mmds_tokens *tokens)
{
	return (const unsigned char *)tokens->binding;
}

int mmds_token_make(struct mmds_tokens *tokens, uint32_t ttl_s, uint64_t now_ns,
		    char token[MMDS_TOKEN_LEN + 1])
{
	struct token raw;

	if (want_key(tokens) < 0 || fill_random(raw.nonce, sizeof(raw.nonce)) < 0) {
		return -1;
	}
	tokens->count++;
	store_le64(raw.end, now_ns + ttl_s * NS_PER_S);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt_detached(
		raw.end, raw.tag, NULL, raw.end, sizeof(raw.end), binding_of(tokens),
		strlen(tokens->binding), NULL, raw.nonce, tokens->key);
	(void)sodium_bin2base64(token, MMDS_TOKEN_LEN + 1, (const unsigned char *)&raw, sizeof(raw),
				sodium_base64_VARIANT_ORIGINAL);
	return 0;
}

bool mmds_token_is_valid(const struct mmds_tokens *tokens, const char *text, size_t len,
			 uint64_t now_ns)
{
	struct token raw;
	size_t raw_len = 0;

	if (len > MMDS_TOKEN_LEN_MAX || !tokens->has_key ||
	    sodium_base642bin((unsigned char *)&raw, sizeof(raw), text, len, NULL, &raw_len, NULL,
			      sodium_base64_VARIANT_ORIGINAL) < 0 ||
	    raw_len != sizeof(raw)) {
		return false;
	}
	if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
		    raw.end, NULL, raw.end, sizeof(raw.end), raw.tag, binding_of(tokens),
		    strlen(tokens->binding), raw.nonce, tokens->key) < 0) {
		return false;
	}
	return load_le64(raw.end) > now_ns;
}
