/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an OCI image layout: index, manifest, configuration. */
#include "tools/squibctl/ctl_oci.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/fd.h"

enum {
	JSON_MAX = 4 << 20, /* bytes of one file */
	PREFIX_LEN = 7,	    /* "sha256:" */
};

static const char tag_key[] = "org.opencontainers.image.ref.name";

/* A digest becomes a part of a path. */
static bool is_digest(const char *text)
{
	return text != NULL && strlen(text) == OCI_DIGEST_LEN - 1 &&
	       strncmp(text, "sha256:", PREFIX_LEN) == 0 &&
	       strspn(text + PREFIX_LEN, "0123456789abcdef") == OCI_DIGEST_LEN - 1 - PREFIX_LEN;
}

static int parse(const char *path, const char *text, size_t len, json_t **json, struct error *err)
{
	json_error_t fault;

	*json = json_loadb(text, len, 0, &fault);
	return json_is_object(*json)
		       ? 0
		       : error_set(err, ERR_CORRUPT, "%s is no JSON object: %s", path, fault.text);
}

static int read_blob(const char *dir, const char *digest, json_t **json, struct error *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *text = NULL;
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];
	size_t len;

	if (!is_digest(digest)) {
		return error_set(err, ERR_CORRUPT, "The image at %s names something by no SHA-256",
				 dir);
	}
	path = ctl_text("%s/blobs/sha256/%s", dir, digest + PREFIX_LEN);
	if (path == NULL ||
	    read_file(path, "A part of the image", JSON_MAX, &text, &len, err) < 0) {
		return -1;
	}
	crypto_hash_sha256(hash, (const unsigned char *)text, len);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	if (strcmp(hex, digest + PREFIX_LEN) != 0) {
		return error_set(err, ERR_CORRUPT, "%s is damaged: its SHA-256 is %s", path, hex);
	}
	return parse(path, text, len, json, err);
}

static const char *tag_of(const json_t *entry)
{
	const char *tag =
		json_string_value(json_object_get(json_object_get(entry, "annotations"), tag_key));

	return tag != NULL ? tag : "";
}

/* The entry of the index; borrowed. */
static const json_t *find_entry(const json_t *index, const char *tag)
{
	const json_t *list = json_object_get(index, "manifests");
	const json_t *entry;
	size_t i;

	if (tag == NULL) {
		return json_array_size(list) == 1 ? json_array_get(list, 0) : NULL;
	}
	json_array_foreach(list, i, entry)
	{
		if (strcmp(tag_of(entry), tag) == 0) {
			return entry;
		}
	}
	return NULL;
}

static int read_image(const char *dir, const json_t *entry, struct oci_image *image,
		      struct error *err)
{
	const char *digest = json_string_value(json_object_get(entry, "digest"));
	json_t *manifest = NULL;
	json_t *file = NULL;
	int done = read_blob(dir, digest, &manifest, err);
	const char *config = NULL;

	if (done == 0) {
		memcpy(image->digest, digest, OCI_DIGEST_LEN);
		image->tag = strdup(tag_of(entry));
		config = json_string_value(
			json_object_get(json_object_get(manifest, "config"), "digest"));
		if (config == NULL) {
			done = error_set(err, ERR_NOT_SUPPORTED,
					 "The image at %s is for several architectures: take one "
					 "out by skopeo copy",
					 dir);
		}
	}
	if (done == 0) {
		done = read_blob(dir, config, &file, err);
	}
	if (done == 0) {
		image->config = json_incref(json_object_get(file, "config"));
	}
	json_decref(manifest);
	json_decref(file);
	return done;
}

int oci_open(const char *dir, const char *tag, struct oci_image *image, struct error *err)
{
	AUTO_FREE char *path = ctl_text("%s/index.json", dir);
	AUTO_FREE char *text = NULL;
	json_t *index = NULL;
	size_t len;
	int done;

	*image = (struct oci_image){0};
	if (path == NULL ||
	    read_file(path, "The index of the OCI layout", JSON_MAX, &text, &len, err) < 0 ||
	    parse(path, text, len, &index, err) < 0) {
		json_decref(index);
		return -1;
	}
	const json_t *entry = find_entry(index, tag);

	if (entry != NULL) {
		done = read_image(dir, entry, image, err);
	} else if (tag != NULL) {
		done = error_set(err, ERR_BAD_REQUEST, "%s has no image with the tag '%s'", dir,
				 tag);
	} else {
		done = error_set(err, ERR_BAD_REQUEST,
				 "%s has not exactly one image: name it, oci:%s:TAG", dir, dir);
	}
	json_decref(index);
	return done;
}

void oci_close(struct oci_image *image)
{
	json_decref(image->config);
	free(image->tag);
	*image = (struct oci_image){0};
}
