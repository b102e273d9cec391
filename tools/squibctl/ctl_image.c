/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images.
 *
 * Theory of operation. An image is a directory of the cache with the disk and what the image says
 * of its command. It is named by what it was made from: an OCI image by its manifest's digest, a
 * directory by its path and a hash of the names, sizes and times in it. It is made under another
 * name, by one process at a time, and renamed when it is whole. What an archive or a registry
 * calls by a name is found again by a small file that has the digest.
 */
#include "tools/squibctl/ctl_image.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/squibctl/ctl_images.h"
#include "tools/squibctl/ctl_newc.h"
#include "tools/squibctl/ctl_oci.h"
#include "tools/squibctl/ctl_tool.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	HASH_LEN = 16,
	KEY_LEN = 2 * HASH_LEN + 1,
	CONFIG_MAX = 4 << 20,
};

/* In the object that embed.S makes. */
extern const unsigned char guest_init_program[];
extern const uint32_t guest_init_len;

/* --- names --- */

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

enum image_kind image_kind(const char *name)
{
	struct stat st;

	if (begins_with(name, "oci:")) {
		return IMAGE_LAYOUT;
	}
	if (begins_with(name, "docker-archive:")) {
		return IMAGE_ARCHIVE;
	}
	if (begins_with(name, "docker://")) {
		return IMAGE_REGISTRY;
	}
	if (stat(name, &st) == 0) {
		return S_ISDIR(st.st_mode) ? IMAGE_DIRECTORY : IMAGE_DISK;
	}
	/* No registry has names like that. */
	return name[0] == '/' || name[0] == '.' ? IMAGE_DISK : IMAGE_REGISTRY;
}

static void hash_text(const char *text, char key[KEY_LEN])
{
	unsigned char hash[HASH_LEN];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *)text, strlen(text), NULL, 0);
	sodium_bin2hex(key, KEY_LEN, hash, sizeof(hash));
}

/* --- disks --- */

enum {
	SUPER_AT = 1024, /* [linux erofs_fs.h, ext4.h] where their superblocks are */
	SUPER_LEN = 64,
	EROFS_BITS_AT = 12, /* log2 of a block's bytes */
	EROFS_BLOCKS_AT = 36,
	EROFS_BITS_MAX = 16,
	EXT4_MAGIC_AT = 56,
};

/* Bytes that the file system says it has, 1 where that is not looked at; 0: it is none of ours. */
static uint64_t disk_len(const uint8_t head[SUPER_AT + SUPER_LEN])
{
	static const uint8_t erofs[] = {0xe2, 0xe1, 0xf5, 0xe0};
	static const uint8_t ext4[] = {0x53, 0xef};
	const uint8_t *super = head + SUPER_AT;
	unsigned bits = super[EROFS_BITS_AT];

	if (memcmp(super, erofs, sizeof(erofs)) == 0 && bits <= EROFS_BITS_MAX) {
		return (uint64_t)load_le32(super + EROFS_BLOCKS_AT) << bits;
	}
	return memcmp(head, "hsqs", 4) == 0 ||
	       memcmp(super + EXT4_MAGIC_AT, ext4, sizeof(ext4)) == 0;
}

int image_check_disk(const char *path, struct error *err)
{
	/* A pipe would keep us waiting for who writes to it. */
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t head[SUPER_AT + SUPER_LEN] = {0};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return error_sys(err, "Cannot open the image %s", path);
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		return error_set(err, ERR_BAD_REQUEST,
				 "The image %s is neither a directory, nor a file or block device",
				 path);
	}
	if (pread(fd, head, sizeof(head), 0) < 0) {
		return error_sys(err, "Cannot read the image %s", path);
	}
	uint64_t len = disk_len(head);

	if (len == 0) {
		return error_set(err, ERR_BAD_REQUEST, "The image %s is no erofs, squashfs or ext4",
				 path);
	}
	return !S_ISREG(st.st_mode) || (uint64_t)st.st_size >= len
		       ? 0
		       : error_set(err, ERR_CORRUPT,
				   "The image %s is cut off: it has %lld bytes of %llu", path,
				   (long long)st.st_size, (unsigned long long)len);
}

/* --- the cache --- */

struct store {
	char *dir;   /* heap: of all images */
	char *key;   /* heap: of this one */
	char *path;  /* heap: its directory */
	char *draft; /* heap: its directory while it is made */
	int lock;
};

static void close_store(struct store *store)
{
	free(store->dir);
	free(store->key);
	free(store->path);
	free(store->draft);
	fd_close(&store->lock);
}

/* Takes `key`. */
static int open_store(struct store *store, char *key, struct error *err)
{
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");

	*store = (struct store){.key = key, .lock = -1};
	if (home != NULL && key != NULL) {
		store->dir = ctl_text("%s/images", home);
		store->path = ctl_text("%s/images/%s", home, key);
		store->draft = ctl_text("%s/images/%s.tmp", home, key);
	}
	if (store->draft == NULL || store->path == NULL || store->dir == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for an image");
	}
	return ctl_make_dir(store->dir, err);
}

/* Whole: a disk that was full, or a host that lost its power, may have left less. */
static bool is_stored(const struct store *store)
{
	AUTO_FREE char *disk = ctl_text("%s/disk.erofs", store->path);
	AUTO_FREE char *config = ctl_text("%s/config.json", store->path);
	struct error ignored = {0};
	struct stat st;

	return disk != NULL && config != NULL && stat(config, &st) == 0 && st.st_size > 0 &&
	       image_check_disk(disk, &ignored) == 0;
}

/* Waits for whoever has the lock. */
static int take_lock(const char *path, int *lock, struct error *err)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0) {
		return error_sys(err, "Cannot open %s", path);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		fputs("squibctl: waiting for another process that makes an image\n", stderr);
		if (flock(fd, LOCK_EX) < 0) {
			return error_sys(err, "Cannot lock %s", path);
		}
	}
	*lock = fd_take(&fd);
	return 0;
}

/* Begins with an empty draft, unless somebody has made it meanwhile. */
static int lock_store(struct store *store, struct error *err)
{
	AUTO_FREE char *path = ctl_text("%s/lock", store->dir);

	if (path == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	if (take_lock(path, &store->lock, err) < 0) {
		return -1;
	}
	ctl_remove_tree(store->draft);
	if (is_stored(store)) {
		return 0;
	}
	ctl_remove_tree(store->path);
	return ctl_make_dir(store->draft, err);
}

static int make_disk(const char *tree, const char *disk, struct error *err)
{
	const char *const as_root[] = {"mkfs.erofs", "-U00000000-0000-0000-0000-000000000000", disk,
				       tree, NULL};
	const char *const as_user[] = {"mkfs.erofs", "-U00000000-0000-0000-0000-000000000000",
				       "--all-root", disk,
				       tree,	     NULL};
	const struct ctl_tool tool = {.what = "making the disk",
				      .package = "erofs-utils",
				      .grows = disk,
				      .argv = geteuid() == 0 ? as_root : as_user};

	return ctl_tool_run(&tool, err);
}

static int finish(struct store *store, const json_t *config, struct error *err)
{
	AUTO_FREE char *path = ctl_text("%s/config.json", store->draft);
	AUTO_FREE char *text = config != NULL ? json_dumps(config, 0) : strdup("{}");

	if (path == NULL || text == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for an image");
	}
	if (ctl_write_file(path, text, strlen(text), err) < 0) {
		return -1;
	}
	return rename(store->draft, store->path) == 0
		       ? 0
		       : error_sys(err, "Cannot rename %s", store->draft);
}

/* What the cache has of an image. */
static int load(const struct store *store, struct ctl_image *image, struct error *err)
{
	AUTO_FREE char *path = ctl_text("%s/config.json", store->path);
	AUTO_FREE char *text = NULL;
	size_t len;

	image->disk = ctl_text("%s/disk.erofs", store->path);
	if (path == NULL || image->disk == NULL ||
	    read_file(path, "What the image says of its command", CONFIG_MAX, &text, &len, err) <
		    0) {
		return -1;
	}
	image->config = json_loadb(text, len, 0, NULL);
	return 0;
}

/* --- directories --- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Of all that changes when something below the directory does. */
static int hash_tree(const char *path, char key[KEY_LEN], struct error *err)
{
	char *const paths[] = {(char *)path, NULL};
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	unsigned char hash[HASH_LEN];
	crypto_generichash_state state;
	const FTSENT *entry;

	if (tree == NULL) {
		return error_sys(err, "Cannot look into %s", path);
	}
	crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	while ((entry = fts_read(tree)) != NULL) {
		const struct stat *st = entry->fts_statp;

		if (entry->fts_info == FTS_DP) {
			continue;
		}
		if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS ||
		    entry->fts_info == FTS_ERR) {
			errno = entry->fts_errno;
			(void)error_sys(err, "Cannot look at %s", entry->fts_path);
			fts_close(tree);
			return -1;
		}
		const uint64_t facts[] = {
			st->st_mode,
			(uint64_t)st->st_size,
			st->st_uid,
			st->st_gid,
			(uint64_t)st->st_mtim.tv_sec,
			(uint64_t)st->st_mtim.tv_nsec,
			(uint64_t)st->st_ctim.tv_sec,
			(uint64_t)st->st_ctim.tv_nsec,
			st->st_ino,
		};

		crypto_generichash_update(&state, (const unsigned char *)facts, sizeof(facts));
		crypto_generichash_update(&state, (const unsigned char *)entry->fts_path,
					  strlen(entry->fts_path) + 1);
	}
	fts_close(tree);
	crypto_generichash_final(&state, hash, sizeof(hash));
	sodium_bin2hex(key, KEY_LEN, hash, sizeof(hash));
	return 0;
}

/* Removes what was made of the same directory before, unless a machine has it: forks open it. */
static void forget_older(const struct store *store)
{
	char *const paths[] = {store->dir, NULL};
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	size_t same = strlen("dir-") + KEY_LEN; /* with the dash */
	FTSENT *entry;

	while (tree != NULL && (entry = fts_read(tree)) != NULL) {
		if (entry->fts_level == 1 && entry->fts_info == FTS_D) {
			AUTO_FREE char *disk = ctl_text("%s/disk.erofs", entry->fts_path);

			fts_set(tree, entry, FTS_SKIP);
			if (strncmp(entry->fts_name, store->key, same) == 0 &&
			    strcmp(entry->fts_name, store->key) != 0 && disk != NULL &&
			    ctl_images_users(disk) == 0) {
				ctl_remove_tree(entry->fts_path);
			}
		}
	}
	if (tree != NULL) {
		fts_close(tree);
	}
}

static int get_directory(const char *name, struct ctl_image *image, struct error *err)
{
	AUTO_FREE char *path = realpath(name, NULL);
	char path_key[KEY_LEN];
	char tree_key[KEY_LEN];
	struct store store = {.lock = -1};

	if (path == NULL) {
		return error_sys(err, "Cannot find %s", name);
	}
	hash_text(path, path_key);
	if (hash_tree(path, tree_key, err) < 0) {
		return -1;
	}
	int done = open_store(&store, ctl_text("dir-%s-%s", path_key, tree_key), err);

	if (done == 0 && !is_stored(&store)) {
		done = lock_store(&store, err);
	}
	if (done == 0 && !is_stored(&store)) {
		AUTO_FREE char *disk = ctl_text("%s/disk.erofs", store.draft);

		done = disk != NULL ? make_disk(path, disk, err) : -1;
		if (done == 0) {
			done = finish(&store, NULL, err);
		}
		if (done == 0) {
			forget_older(&store);
		}
	}
	if (done == 0) {
		done = load(&store, image, err);
	}
	close_store(&store);
	return done;
}

static int get_disk(const char *name, struct ctl_image *image, struct error *err)
{
	image->disk = realpath(name, NULL);
	return image->disk != NULL ? image_check_disk(image->disk, err)
				   : error_sys(err, "Cannot find the image %s", name);
}

/* --- OCI --- */

static int unpack(const char *layout, const struct oci_image *oci, const char *bundle,
		  struct error *err)
{
	AUTO_FREE char *source = ctl_text("%s:%s", layout, oci->tag);
	const char *const as_root[] = {"umoci", "unpack", "--image", source, bundle, NULL};
	const char *const as_user[] = {"umoci", "unpack", "--rootless", "--image",
				       source,	bundle,	  NULL};
	const struct ctl_tool tool = {.what = "unpacking",
				      .package = "umoci",
				      .grows = bundle,
				      .argv = geteuid() == 0 ? as_root : as_user};

	return source != NULL ? ctl_tool_run(&tool, err)
			      : error_set(err, ERR_HOST, "There is no memory for a path");
}

/* Makes the image in the draft; that of the layout may be in it, too. */
static int make_layout(struct store *store, const char *layout, const struct oci_image *oci,
		       struct error *err)
{
	AUTO_FREE char *bundle = ctl_text("%s/bundle", store->draft);
	AUTO_FREE char *tree = ctl_text("%s/bundle/rootfs", store->draft);
	AUTO_FREE char *disk = ctl_text("%s/disk.erofs", store->draft);

	if (bundle == NULL || tree == NULL || disk == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	if (unpack(layout, oci, bundle, err) < 0 || make_disk(tree, disk, err) < 0) {
		ctl_remove_tree(bundle);
		return -1;
	}
	ctl_remove_tree(bundle);
	return finish(store, oci->config, err);
}

static int get_layout(const char *layout, const char *tag, struct ctl_image *image,
		      char digest[OCI_DIGEST_LEN], struct error *err)
{
	struct store store = {.lock = -1};
	struct oci_image oci;
	int done = oci_open(layout, tag, &oci, err);

	if (done == 0) {
		memcpy(digest, oci.digest, OCI_DIGEST_LEN);
		done = open_store(&store, ctl_text("oci-%s", oci.digest), err);
	}
	if (done == 0 && !is_stored(&store)) {
		done = lock_store(&store, err);
	}
	if (done == 0 && !is_stored(&store)) {
		done = make_layout(&store, layout, &oci, err);
	}
	if (done == 0) {
		done = load(&store, image, err);
	}
	close_store(&store);
	oci_close(&oci);
	return done;
}

/* A path may have colons of its own: the tag is what follows the last one, without a slash. */
static int get_named_layout(const char *name, struct ctl_image *image, struct error *err)
{
	AUTO_FREE char *path = strdup(name + strlen("oci:"));
	char *tag = path != NULL ? strrchr(path, ':') : NULL;
	char digest[OCI_DIGEST_LEN];

	if (tag != NULL && strchr(tag, '/') == NULL) {
		*tag++ = '\0';
	} else {
		tag = NULL;
	}
	return path != NULL ? get_layout(path, tag, image, digest, err) : -1;
}

/* --- what skopeo fetches --- */

/* As docker has it: a registry on this machine needs no certificate. */
static bool is_local(const char *source)
{
	return begins_with(source, "docker://localhost") || begins_with(source, "docker://127.") ||
	       begins_with(source, "docker://[::1]");
}

static int fetch(const char *source, const char *layout, struct error *err)
{
	AUTO_FREE char *target = ctl_text("oci:%s:image", layout);
	const char *const argv[] = {
		"skopeo",
		"copy",
		is_local(source) ? "--src-tls-verify=false" : "--src-tls-verify=true",
		source,
		target,
		NULL};
	const struct ctl_tool tool = {
		.what = "fetching", .package = "skopeo", .grows = layout, .argv = argv};

	return target != NULL ? ctl_tool_run(&tool, err)
			      : error_set(err, ERR_HOST, "There is no memory for a path");
}

/* What a name stands for on this day: an archive is another one when its file has changed. */
static char *reference(const char *source)
{
	struct stat st;

	if (begins_with(source, "docker-archive:") &&
	    stat(source + strlen("docker-archive:"), &st) == 0) {
		return ctl_text("%s %llu %llu %lld.%09ld", source, (unsigned long long)st.st_ino,
				(unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec,
				st.st_mtim.tv_nsec);
	}
	return strdup(source);
}

static int get_known(const char *digest_path, struct ctl_image *image)
{
	AUTO_FREE char *digest = NULL;
	struct store store = {.lock = -1};
	struct error ignored = {0};
	size_t len;
	int done = read_file(digest_path, "A digest", OCI_DIGEST_LEN, &digest, &len, &ignored);

	if (done == 0) {
		done = open_store(&store, ctl_text("oci-%s", digest), &ignored);
	}
	if (done == 0) {
		done = is_stored(&store) ? load(&store, image, &ignored) : -1;
	}
	close_store(&store);
	return done;
}

static int get_fetched(const char *source, bool pulls, struct ctl_image *image, struct error *err)
{
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");
	AUTO_FREE char *name = reference(source);
	char key[KEY_LEN];
	char digest[OCI_DIGEST_LEN];

	if (home == NULL || name == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a name");
	}
	hash_text(name, key);
	AUTO_FREE char *known = ctl_text("%s/images/ref-%s", home, key);
	AUTO_FREE char *layout = ctl_text("%s/images/ref-%s.tmp", home, key);
	AUTO_FREE char *lock_path = ctl_text("%s/images/ref-%s.lock", home, key);
	AUTO_FREE char *dir = ctl_text("%s/images", home);
	AUTO_FD lock = -1;

	if (known == NULL || layout == NULL || lock_path == NULL || dir == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a name");
	}
	if (!pulls && get_known(known, image) == 0) {
		return 0;
	}
	if (ctl_make_dir(dir, err) < 0 || take_lock(lock_path, &lock, err) < 0) {
		return -1;
	}
	if (!pulls && get_known(known, image) == 0) {
		return 0;
	}
	ctl_remove_tree(layout);
	int done = fetch(source, layout, err);

	if (done == 0) {
		done = get_layout(layout, NULL, image, digest, err);
	}
	ctl_remove_tree(layout);
	return done == 0 ? ctl_write_file(known, digest, strlen(digest), err) : -1;
}

static int get(const char *name, bool pulls, struct ctl_image *image, struct error *err)
{
	if (name[0] == '\0') {
		return error_set(err, ERR_BAD_REQUEST, "The image's name is empty");
	}
	switch (image_kind(name)) {
	case IMAGE_DIRECTORY:
		return get_directory(name, image, err);
	case IMAGE_DISK:
		return get_disk(name, image, err);
	case IMAGE_LAYOUT:
		return get_named_layout(name, image, err);
	case IMAGE_ARCHIVE:
		return get_fetched(name, pulls, image, err);
	case IMAGE_REGISTRY:
		break;
	}
	AUTO_FREE char *source =
		begins_with(name, "docker://") ? strdup(name) : ctl_text("docker://%s", name);

	return source != NULL ? get_fetched(source, pulls, image, err) : -1;
}

/* Beside a disk of the cache. What can't be noted looks older than it is. */
static void note_use(const char *name, const struct ctl_image *image)
{
	AUTO_FREE char *path = strdup(image->disk);
	char *slash = path != NULL ? strrchr(path, '/') : NULL;
	struct error ignored = {0};

	if (slash != NULL) {
		*slash = '\0';
		AUTO_FREE char *used = ctl_text("%s/" CTL_IMAGE_USED, path);

		(void)!(used != NULL ? ctl_write_file(used, name, strlen(name), &ignored) : 0);
	}
}

int ctl_image_get(const char *name, bool pulls, struct ctl_image *image, struct error *err)
{
	*image = (struct ctl_image){0};
	if (sodium_init() < 0) {
		return error_set(err, ERR_HOST, "libsodium does not start");
	}
	if (get(name, pulls, image, err) < 0) {
		return -1;
	}
	if (image_kind(name) != IMAGE_DISK) {
		note_use(name, image);
	}
	return 0;
}

int ctl_image_lock(int *lock, struct error *err)
{
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");
	AUTO_FREE char *dir = home != NULL ? ctl_text("%s/images", home) : NULL;
	AUTO_FREE char *path = home != NULL ? ctl_text("%s/images/lock", home) : NULL;

	if (dir == NULL || path == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	return ctl_make_dir(dir, err) < 0 ? -1 : take_lock(path, lock, err);
}

void ctl_image_close(struct ctl_image *image)
{
	free(image->disk);
	json_decref(image->config);
	*image = (struct ctl_image){0};
}

/* --- the initrd --- */

/* Whole and as it was: one that was cut off would end each machine. */
static bool has_content(const char *path, const void *content, size_t len)
{
	AUTO_FREE char *text = NULL;
	struct error ignored = {0};
	size_t got = 0;

	return read_file(path, "The initrd", len, &text, &got, &ignored) == 0 && got == len &&
	       memcmp(text, content, len) == 0;
}

int ctl_image_archive(const void *request, size_t request_len, uint8_t **archive, size_t *len,
		      struct error *err)
{
	const struct newc_entry entries[] = {
		{.name = "dev", .mode = S_IFDIR | 0755},
		{.name = "dev/console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1},
		{.name = "init",
		 .mode = S_IFREG | 0755,
		 .data = guest_init_program,
		 .len = guest_init_len},
		{.name = request != NULL ? "request" : NULL,
		 .mode = S_IFREG | 0600,
		 .data = request,
		 .len = request_len},
		{0},
	};

	*len = newc_write(entries, NULL, 0);
	*archive = malloc(*len);
	return *archive != NULL && newc_write(entries, *archive, *len) == *len
		       ? 0
		       : error_set(err, ERR_HOST, "There is no memory for the initrd");
}

int ctl_image_initrd(char **path, struct error *err)
{
	AUTO_FREE char *home = ctl_home("XDG_CACHE_HOME", ".cache");
	AUTO_FREE uint8_t *archive = NULL;
	unsigned char hash[HASH_LEN];
	char key[KEY_LEN];
	size_t len;

	if (ctl_image_archive(NULL, 0, &archive, &len, err) < 0 || archive == NULL) {
		return -1;
	}
	if (home == NULL) {
		return error_set(err, ERR_HOST, "There is no memory for a path");
	}
	crypto_generichash(hash, sizeof(hash), archive, len, NULL, 0);
	sodium_bin2hex(key, sizeof(key), hash, sizeof(hash));
	AUTO_FREE char *dir = ctl_text("%s/images", home);

	*path = ctl_text("%s/images/initrd-%s", home, key);
	if (dir == NULL || *path == NULL || ctl_make_dir(dir, err) < 0) {
		return err->kind != ERR_NONE ? -1 : error_set(err, ERR_HOST, "There is no memory");
	}
	return has_content(*path, archive, len) ? 0 : ctl_write_file(*path, archive, len, err);
}
