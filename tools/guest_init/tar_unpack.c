/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks files.
 *
 * Theory of operation. Of a name only its parts are believed, none of which may be "..". The
 * directory of an entry is reached from the destination part by part, each opened in the one before
 * and never by a link; what is missing is made. In it the last part is removed, if it is no
 * directory, and made anew: nothing that is there is ever written into, so a hard link can't lead
 * elsewhere either.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/guest_init/tar.h"

enum {
	BUFFER = 64 << 10,
	PAX_MAX = 64 << 10, /* bytes of a pax entry */
	MODE_MASK = 0777,
	DIR_MODE = 0700, /* that a directory has at least, so that it can be filled */
};

static const uint64_t no_size = UINT64_MAX;

struct unpacker {
	int in;
	int base;	    /* the directory that all is made in */
	const char *rename; /* in place of the first part of each name; NULL: none */
	struct tar_fault *fault;
	struct tar_head head;
	struct tar_head pending; /* what the next head has in place of its own: no_size, "" */
	char buffer[BUFFER];
};

/* Returns false, for the caller to return. */
static bool fail(struct unpacker *unpacker, const char *what, const char *which)
{
	snprintf(unpacker->fault->text, sizeof(unpacker->fault->text), "Cannot %s %.300s: %s", what,
		 which, strerror(errno));
	return false;
}

static bool refuse(struct unpacker *unpacker, const char *sentence)
{
	snprintf(unpacker->fault->text, sizeof(unpacker->fault->text), "%s: %.300s", sentence,
		 unpacker->head.name);
	return false;
}

/* --- the stream --- */

/* As many bytes as there are, up to `len`. */
static size_t take(const struct unpacker *unpacker, void *to, size_t len)
{
	size_t have = 0;
	ssize_t got = 1;

	while (have < len && (got > 0 || (got < 0 && errno == EINTR))) {
		got = read(unpacker->in, (char *)to + have, len - have);
		have += got > 0 ? (size_t)got : 0;
	}
	return have;
}

static bool take_all(struct unpacker *unpacker, void *to, size_t len)
{
	return take(unpacker, to, len) == len || refuse(unpacker, "The archive is cut off, behind");
}

/* Whole blocks, which `size` bytes begin; they go to `fd` unless it is -1. */
static bool take_content(struct unpacker *unpacker, uint64_t size, int fd)
{
	uint64_t blocks = size / TAR_BLOCK + (size % TAR_BLOCK != 0);

	while (blocks > 0) {
		size_t piece = blocks < BUFFER / TAR_BLOCK ? (size_t)blocks : BUFFER / TAR_BLOCK;
		size_t len = piece * TAR_BLOCK;

		if (!take_all(unpacker, unpacker->buffer, len)) {
			return false;
		}
		len = size < len ? (size_t)size : len;
		for (size_t done = 0; fd >= 0 && done < len;) {
			ssize_t got = write(fd, unpacker->buffer + done, len - done);

			if (got < 0 && errno != EINTR) {
				return fail(unpacker, "write", unpacker->head.name);
			}
			done += got > 0 ? (size_t)got : 0;
		}
		size -= len;
		blocks -= piece;
	}
	return true;
}

/* --- names --- */

/* The parts of a name, with one slash between two; "": none. false: it leads elsewhere. */
static bool clean(const struct unpacker *unpacker, const char *name, char path[TAR_PATH_MAX])
{
	size_t len = 0;
	bool is_first = true;

	if (name[0] == '/') {
		return false;
	}
	if (unpacker->rename != NULL) {
		len = strlen(unpacker->rename);
		if (len >= TAR_PATH_MAX) {
			return false;
		}
		memcpy(path, unpacker->rename, len);
	}
	for (;;) {
		name += strspn(name, "/");
		size_t part = strcspn(name, "/");

		if (part == 0) {
			path[len] = '\0';
			return true;
		}
		bool is_dot = part == 1 && name[0] == '.';
		bool is_renamed = is_first && unpacker->rename != NULL;

		if (part == 2 && name[0] == '.' && name[1] == '.') {
			return false;
		}
		if (!is_dot && !is_renamed) {
			size_t gap = len > 0 ? 1 : 0;

			if (len + gap + part >= TAR_PATH_MAX) {
				return false;
			}
			path[len] = '/';
			memcpy(path + len + gap, name, part);
			len += gap + part;
		}
		is_first = false;
		name += part;
	}
}

/* The directory that `path` is in, and its last part in *last; -1 with a fault. */
static int open_dir_of(struct unpacker *unpacker, char path[TAR_PATH_MAX], const char **last)
{
	int dir = fcntl(unpacker->base, F_DUPFD_CLOEXEC, 0);
	char *at = path;
	char *slash;

	while (dir >= 0 && (slash = strchr(at, '/')) != NULL) {
		*slash = '\0';
		int next = openat(dir, at, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (next < 0 && errno == ENOENT && mkdirat(dir, at, MODE_MASK) == 0) {
			next = openat(dir, at, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		int fault = errno;

		close(dir);
		errno = fault;
		dir = next;
		at = slash + 1;
	}
	if (dir < 0) {
		(void)fail(unpacker, "go into the directory of", unpacker->head.name);
	}
	*last = at;
	return dir;
}

/* --- entries --- */

/* What is there is removed, unless it is a directory. */
static bool clear_place(struct unpacker *unpacker, int dir, const char *name)
{
	return unlinkat(dir, name, 0) == 0 || errno == ENOENT ||
	       fail(unpacker, "replace", unpacker->head.name);
}

static bool make_file(struct unpacker *unpacker, int dir, const char *name)
{
	const struct tar_head *head = &unpacker->head;
	const struct timespec times[] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = (time_t)head->mtime}};

	if (!clear_place(unpacker, dir, name)) {
		return false;
	}
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0) {
		return fail(unpacker, "make", head->name);
	}
	bool is_done = take_content(unpacker, head->size, fd);

	if (is_done && fchmod(fd, head->mode & MODE_MASK) < 0) {
		is_done = fail(unpacker, "set the mode of", head->name);
	}
	(void)!futimens(fd, times);
	if (close(fd) < 0 && is_done) {
		is_done = fail(unpacker, "write", head->name);
	}
	return is_done;
}

static bool make_dir(struct unpacker *unpacker, int dir, const char *name)
{
	mode_t mode = (unpacker->head.mode & MODE_MASK) | DIR_MODE;
	struct stat st;

	if (name[0] == '\0') {
		return true; /* the destination itself */
	}
	if (mkdirat(dir, name, mode) == 0) {
		return true;
	}
	bool is_there = errno == EEXIST && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;

	errno = EEXIST;
	return (is_there && S_ISDIR(st.st_mode)) ||
	       fail(unpacker, "make the directory", unpacker->head.name);
}

static bool make_symlink(struct unpacker *unpacker, int dir, const char *name)
{
	return clear_place(unpacker, dir, name) &&
	       (symlinkat(unpacker->head.link, dir, name) == 0 ||
		fail(unpacker, "make the link", unpacker->head.name));
}

static bool make_link(struct unpacker *unpacker, int dir, const char *name)
{
	char path[TAR_PATH_MAX];
	const char *other;

	if (!clean(unpacker, unpacker->head.link, path)) {
		return refuse(unpacker, "The archive has a link that leads elsewhere");
	}
	int other_dir = open_dir_of(unpacker, path, &other);

	if (other_dir < 0) {
		return false;
	}
	bool is_done = clear_place(unpacker, dir, name) &&
		       (linkat(other_dir, other, dir, name, 0) == 0 ||
			fail(unpacker, "make the link", unpacker->head.name));

	close(other_dir);
	return is_done;
}

static bool make_entry(struct unpacker *unpacker, int dir, const char *name)
{
	const struct tar_head *head = &unpacker->head;

	if (name[0] == '\0' && head->kind != TAR_DIR) {
		return refuse(unpacker, "The archive has a file without a name");
	}
	switch (head->kind) {
	case TAR_FILE:
		return make_file(unpacker, dir, name);
	case TAR_DIR:
		return make_dir(unpacker, dir, name) && take_content(unpacker, head->size, -1);
	case TAR_SYMLINK:
		return make_symlink(unpacker, dir, name) && take_content(unpacker, head->size, -1);
	case TAR_LINK:
		return make_link(unpacker, dir, name) && take_content(unpacker, head->size, -1);
	default:
		unpacker->fault->left_out++;
		return take_content(unpacker, head->size, -1);
	}
}

/* --- the next one's members --- */

static bool take_pending_text(struct unpacker *unpacker, char to[TAR_PATH_MAX])
{
	uint64_t size = unpacker->head.size;

	if (size >= TAR_PATH_MAX) {
		return refuse(unpacker, "The archive has a name that is too long");
	}
	if (!take_content(unpacker, size, -1)) {
		return false;
	}
	memcpy(to, unpacker->buffer, size);
	to[size] = '\0';
	return true;
}

static bool take_pax(struct unpacker *unpacker)
{
	uint64_t size = unpacker->head.size;

	if (size > PAX_MAX) {
		return refuse(unpacker, "The archive has members that are too long");
	}
	/* All is in the buffer at once. */
	return take_content(unpacker, size, -1) &&
	       (tar_pax_read(unpacker->buffer, size, &unpacker->pending) ||
		refuse(unpacker, "The archive has members that are malformed"));
}

static void forget_pending(struct unpacker *unpacker)
{
	unpacker->pending.name[0] = '\0';
	unpacker->pending.link[0] = '\0';
	unpacker->pending.size = no_size;
}

static void apply_pending(struct unpacker *unpacker)
{
	struct tar_head *head = &unpacker->head;
	const struct tar_head *pending = &unpacker->pending;

	if (pending->name[0] != '\0') {
		memcpy(head->name, pending->name, strlen(pending->name) + 1);
	}
	if (pending->link[0] != '\0') {
		memcpy(head->link, pending->link, strlen(pending->link) + 1);
	}
	if (pending->size != no_size) {
		head->size = pending->size;
	}
	forget_pending(unpacker);
}

/* --- all --- */

static bool unpack_entry(struct unpacker *unpacker)
{
	char path[TAR_PATH_MAX];
	const char *last;

	switch (unpacker->head.kind) {
	case TAR_LONG_NAME:
		return take_pending_text(unpacker, unpacker->pending.name);
	case TAR_LONG_LINK:
		return take_pending_text(unpacker, unpacker->pending.link);
	case TAR_PAX:
		return take_pax(unpacker);
	case TAR_PAX_ALL:
		return take_content(unpacker, unpacker->head.size, -1);
	default:
		break;
	}
	apply_pending(unpacker);
	if (!clean(unpacker, unpacker->head.name, path)) {
		return refuse(unpacker, "The archive has a name that leads elsewhere");
	}
	int dir = open_dir_of(unpacker, path, &last);
	bool is_done = dir >= 0 && make_entry(unpacker, dir, last);

	if (dir >= 0) {
		close(dir);
	}
	return is_done;
}

static bool unpack_all(struct unpacker *unpacker)
{
	static const uint8_t zeroes[TAR_BLOCK];
	uint8_t block[TAR_BLOCK];

	while (take_all(unpacker, block, sizeof(block))) {
		if (memcmp(block, zeroes, sizeof(block)) == 0) {
			/* What fills up the last record: who writes it shall not fail. */
			while (take(unpacker, unpacker->buffer, BUFFER) > 0) {
			}
			return true;
		}
		if (!tar_head_read(block, &unpacker->head)) {
			return refuse(unpacker, "This is no tar archive, behind");
		}
		if (!unpack_entry(unpacker)) {
			return false;
		}
	}
	return false;
}

/* The destination, or the directory where it will be, with `rename` its name there. */
static int open_base(struct unpacker *unpacker, const char *path, char parent[TAR_PATH_MAX])
{
	size_t len = strlen(path);
	int base = open(len > 0 ? path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (base >= 0 || (errno != ENOENT && errno != ENOTDIR) || len >= TAR_PATH_MAX) {
		return base;
	}
	memcpy(parent, path, len + 1);
	char *slash = strrchr(parent, '/');

	unpacker->rename = slash != NULL ? slash + 1 : path;
	if (slash == NULL) {
		return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (slash[1] == '\0') {
		return -1; /* it is said to be a directory */
	}
	unpacker->rename = path + (slash + 1 - parent);
	slash[slash == parent ? 1 : 0] = '\0';
	return open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

bool tar_unpack(int in, const char *path, struct tar_fault *fault)
{
	static struct unpacker unpacker;
	char parent[TAR_PATH_MAX];

	memset(fault, 0, sizeof(*fault));
	unpacker.in = in;
	unpacker.fault = fault;
	unpacker.rename = NULL;
	unpacker.head.name[0] = '\0';
	forget_pending(&unpacker);
	unpacker.base = open_base(&unpacker, path, parent);
	if (unpacker.base < 0) {
		return fail(&unpacker, "open the directory", path);
	}
	bool is_done = unpack_all(&unpacker);

	close(unpacker.base);
	return is_done;
}
