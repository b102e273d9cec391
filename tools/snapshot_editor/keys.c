/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and reads keys. */
#include "tools/snapshot_editor/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/snapshot_editor/extents.h"
#include "vmm/base/fd.h"
#include "vmm/persist/durable.h"

enum {
	KEY_LEN = MANIFEST_SEED_LEN, /* of either half */
	LINE_MAX_LEN = 128,
};

_Static_assert(MANIFEST_SEED_LEN + 0 == MANIFEST_KEY_LEN + 0, "one format");

static const char secret_name[] = "squib-ed25519-secret ";
static const char public_name[] = "squib-ed25519-public ";

/* A key that exists is never replaced: what it signed could not be checked any more. */
static int write_key(const char *path, const char *name, const uint8_t *bytes, mode_t mode,
		     struct error *err)
{
	char hex[2 * KEY_LEN + 1];
	char line[LINE_MAX_LEN];
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0) {
		return error_sys(err, "Cannot make the key %s", path);
	}
	int len = snprintf(line, sizeof(line), "%s%s\n", name,
			   sodium_bin2hex(hex, sizeof(hex), bytes, KEY_LEN));
	int result = write_full(fd, line, (size_t)len, 0, err);

	sodium_memzero(hex, sizeof(hex));
	sodium_memzero(line, sizeof(line));
	if (result == 0) {
		result = durable_sync(fd, path, err);
	} else {
		result = error_wrap(err, "Cannot make the key %s", path);
	}
	if (result < 0) {
		unlink(path);
	}
	return result;
}

int keys_make(const char *path, struct error *err)
{
	uint8_t seed[MANIFEST_SEED_LEN];
	uint8_t key[MANIFEST_KEY_LEN];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	char public_path[PATH_MAX];

	if (snprintf(public_path, sizeof(public_path), "%s.pub", path) >=
	    (int)sizeof(public_path)) {
		return error_set(err, ERR_BAD_REQUEST, "The name of the key is too long");
	}
	randombytes_buf(seed, sizeof(seed));
	crypto_sign_seed_keypair(key, secret, seed);
	int result = write_key(path, secret_name, seed, 0600, err);

	if (result == 0 && write_key(public_path, public_name, key, 0644, err) < 0) {
		unlink(path);
		result = -1;
	}
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(secret, sizeof(secret));
	return result;
}

static int read_key(const char *path, const char *name, const char *other, uint8_t *bytes,
		    struct error *err)
{
	char *text = NULL;
	size_t len;
	size_t name_len = strlen(name);

	if (read_file(path, "The key", LINE_MAX_LEN, &text, &len, err) < 0) {
		return -1;
	}
	int result = 0;

	if (strncmp(text, other, strlen(other)) == 0) {
		result = error_set(err, ERR_BAD_REQUEST, "%s is the other half of a key: %s", path,
				   name == secret_name ? "to sign takes the secret one"
						       : "to check takes the public one, *.pub");
	} else if (strncmp(text, name, name_len) != 0 ||
		   strspn(text + name_len, "0123456789abcdef") != (size_t)2 * KEY_LEN ||
		   strcmp(text + name_len + (size_t)2 * KEY_LEN, "\n") != 0 ||
		   sodium_hex2bin(bytes, KEY_LEN, text + name_len, (size_t)2 * KEY_LEN, NULL, NULL,
				  NULL) != 0) {
		result = error_set(err, ERR_BAD_REQUEST, "%s is no key that keygen made", path);
	}
	sodium_memzero(text, len);
	free_pointer(&text);
	return result;
}

int keys_read_secret(const char *path, uint8_t seed[MANIFEST_SEED_LEN], struct error *err)
{
	return read_key(path, secret_name, public_name, seed, err);
}

int keys_read_public(const char *path, uint8_t key[MANIFEST_KEY_LEN], struct error *err)
{
	return read_key(path, public_name, secret_name, key, err);
}
