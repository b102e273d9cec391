/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs files.
 *
 * Theory of operation. Directories that are not done are a stack of bounded depth; each entry is
 * opened by its name in the directory that is open, so that whoever renames meanwhile leads nowhere
 * else. A file has the length that its head says, whatever becomes of it while it is read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/guest_init/tar.h"

enum {
	BUFFER = 64 << 10,
	MODE_MASK = 07777,
};

struct level {
	DIR *dir;
	size_t name_len; /* of the directory, in the path */
};

struct packer {
	int out;
	struct tar_fault *fault;
	struct tar_head head; /* its name is the path of what is packed */
	struct level levels[TAR_DEPTH_MAX];
	unsigned depth;
	uint8_t buffer[BUFFER];
};

/* Returns false, for the caller to return. */
static bool fail(struct packer *packer, const char *what)
{
	snprintf(packer->fault->text, sizeof(packer->fault->text), "Cannot %s %.300s: %s", what,
		 packer->head.name, strerror(errno));
	return false;
}

static bool put(struct packer *packer, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t done = write(packer->out, at, len);

		if (done < 0 && errno != EINTR) {
			return fail(packer, "write the archive at");
		}
		at += done > 0 ? done : 0;
		len -= done > 0 ? (size_t)done : 0;
	}
	return true;
}

/* The zeroes that complete a block. */
static bool put_rest(struct packer *packer, uint64_t len)
{
	static const uint8_t zeroes[TAR_BLOCK];

	return put(packer, zeroes, (TAR_BLOCK - len % TAR_BLOCK) % TAR_BLOCK);
}

static bool put_long(struct packer *packer, enum tar_kind kind, const char *text)
{
	static struct tar_head head = {.name = "././@LongLink"};
	uint8_t block[TAR_BLOCK];

	if (!tar_is_long(text)) {
		return true;
	}
	head.kind = (uint8_t)kind;
	head.size = strlen(text) + 1;
	tar_head_write(&head, block);
	return put(packer, block, sizeof(block)) && put(packer, text, head.size) &&
	       put_rest(packer, head.size);
}

static bool put_head(struct packer *packer, const struct stat *st, enum tar_kind kind)
{
	struct tar_head *head = &packer->head;
	uint8_t block[TAR_BLOCK];

	head->kind = (uint8_t)kind;
	head->mode = st->st_mode & MODE_MASK;
	head->uid = st->st_uid;
	head->gid = st->st_gid;
	head->size = kind == TAR_FILE ? (uint64_t)st->st_size : 0;
	head->mtime = st->st_mtime > 0 ? (uint64_t)st->st_mtime : 0;
	if (kind != TAR_SYMLINK) {
		head->link[0] = '\0';
	}
	tar_head_write(head, block);
	return put_long(packer, TAR_LONG_LINK, head->link) &&
	       put_long(packer, TAR_LONG_NAME, head->name) && put(packer, block, sizeof(block));
}

static bool put_content(struct packer *packer, int fd, uint64_t size)
{
	uint64_t left = size;

	while (left > 0) {
		size_t piece = left < BUFFER ? (size_t)left : BUFFER;
		ssize_t got = read(fd, packer->buffer, piece);

		if (got < 0 && errno != EINTR) {
			return fail(packer, "read");
		}
		if (got == 0) {
			/* It has got shorter. */
			memset(packer->buffer, 0, piece);
			got = (ssize_t)piece;
		}
		if (got > 0 && !put(packer, packer->buffer, (size_t)got)) {
			return false;
		}
		left -= got > 0 ? (uint64_t)got : 0;
	}
	return put_rest(packer, size);
}

static bool pack_file(struct packer *packer, int dir, const char *name)
{
	/* Not waiting, should it be a pipe by now. */
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		bool is_gone = fd < 0 && errno == ENOENT;

		return is_gone || fail(packer, "open");
	}
	bool is_done = !S_ISREG(st.st_mode) || (put_head(packer, &st, TAR_FILE) &&
						put_content(packer, fd, (uint64_t)st.st_size));

	close(fd);
	return is_done;
}

static bool pack_symlink(struct packer *packer, int dir, const char *name, const struct stat *st)
{
	ssize_t len = readlinkat(dir, name, packer->head.link, sizeof(packer->head.link) - 1);

	if (len < 0) {
		return errno == ENOENT || fail(packer, "read the link");
	}
	packer->head.link[len] = '\0';
	return put_head(packer, st, TAR_SYMLINK);
}

/* Its entries come later. */
static bool enter(struct packer *packer, int dir, const char *name, const struct stat *st)
{
	size_t len = strlen(packer->head.name);
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		return errno == ENOENT || fail(packer, "open");
	}
	if (packer->depth == TAR_DEPTH_MAX || len + 1 >= TAR_PATH_MAX) {
		close(fd);
		errno = ENAMETOOLONG;
		return fail(packer, "go as deep as");
	}
	DIR *stream = fdopendir(fd);

	if (stream == NULL) {
		close(fd);
		return fail(packer, "read");
	}
	packer->levels[packer->depth++] = (struct level){.dir = stream, .name_len = len};
	packer->head.name[len] = '/';
	packer->head.name[len + 1] = '\0';
	return put_head(packer, st, TAR_DIR);
}

static bool pack_one(struct packer *packer, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return (errno == ENOENT && packer->depth > 0) || fail(packer, "look at");
	}
	if (S_ISREG(st.st_mode)) {
		return pack_file(packer, dir, name);
	}
	if (S_ISLNK(st.st_mode)) {
		return pack_symlink(packer, dir, name, &st);
	}
	if (S_ISDIR(st.st_mode)) {
		return enter(packer, dir, name, &st);
	}
	packer->fault->left_out++;
	return true;
}

static bool pack_next(struct packer *packer)
{
	struct level *level = &packer->levels[packer->depth - 1];
	char *path = packer->head.name;
	const struct dirent *entry;

	errno = 0;
	entry = readdir(level->dir);
	path[level->name_len] = '\0';
	if (entry == NULL) {
		bool is_done = errno == 0 || fail(packer, "read");

		closedir(level->dir);
		packer->depth--;
		return is_done;
	}
	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
		return true;
	}
	int len = snprintf(path + level->name_len, TAR_PATH_MAX - level->name_len, "/%s",
			   entry->d_name);

	if ((size_t)len >= TAR_PATH_MAX - level->name_len) {
		errno = ENAMETOOLONG;
		return fail(packer, "take what is in");
	}
	return pack_one(packer, dirfd(level->dir), entry->d_name);
}

/* The directory that has it, open, and its name there, both of `path`; -1: there is none. */
static int open_parent(const char *path, char name[TAR_PATH_MAX])
{
	char parent[TAR_PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(parent)) {
		errno = len == 0 ? ENOENT : ENAMETOOLONG;
		return -1;
	}
	memcpy(parent, path, len + 1);
	while (len > 1 && parent[len - 1] == '/') {
		parent[--len] = '\0';
	}
	char *slash = strrchr(parent, '/');
	const char *last = slash != NULL ? slash + 1 : parent;

	if (last[0] == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
		memcpy(name, ".", sizeof("."));
		return open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	memcpy(name, last, strlen(last) + 1);
	if (slash == NULL) {
		return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	slash[slash == parent ? 1 : 0] = '\0';
	return open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool tar_pack(int out, const char *path, struct tar_fault *fault)
{
	static struct packer packer;
	static const uint8_t end[2 * TAR_BLOCK];

	memset(fault, 0, sizeof(*fault));
	packer.out = out;
	packer.fault = fault;
	packer.depth = 0;
	snprintf(packer.head.name, sizeof(packer.head.name), "%s", path);
	int dir = open_parent(path, packer.head.name);

	if (dir < 0) {
		return fail(&packer, "open");
	}
	bool is_done = pack_one(&packer, dir, packer.head.name);

	close(dir);
	while (is_done && packer.depth > 0) {
		is_done = pack_next(&packer);
	}
	while (packer.depth > 0) {
		closedir(packer.levels[--packer.depth].dir);
	}
	return is_done && put(&packer, end, sizeof(end));
}
