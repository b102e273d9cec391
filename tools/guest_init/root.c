/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's root directory.
 *
 * Theory of operation. The image is never written to: an overlay has it below, and above a tmpfs or
 * the disk of the machine. What the image has in /tmp and /run stays there, as images of services
 * expect.
 */
#include "tools/guest_init/guest_init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	PATH_LEN = 64,
	TRIES = 100, /* at 20 ms each, until a driver has found its disk */
	NAP_NS = 20 * 1000 * 1000,
	DIR_MODE = 0755,
	TMP_MODE = 01777,
};

static const char *const file_systems[] = {"erofs", "squashfs", "ext4"};

/* Mounts it with the first file system that it has. */
static int try_image(const char *device)
{
	int fault = ENODEV;

	for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++) {
		if (mount(device, "/low", file_systems[i], MS_RDONLY, NULL) == 0) {
			return 0;
		}
		/* EINVAL: it is another one's. ENODEV: the kernel does not know that one. */
		fault = errno == EINVAL && fault != ENOENT ? fault : errno;
		if (errno == ENOENT || errno == ENXIO) {
			break;
		}
	}
	return fault;
}

static void mount_image(const char *device)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};
	int fault = try_image(device);

	for (unsigned i = 0; i < TRIES && (fault == ENOENT || fault == ENXIO); i++) {
		nanosleep(&nap, NULL);
		fault = try_image(device);
	}
	if (fault != 0) {
		guest_die("Cannot mount the image (erofs, squashfs or ext4) at", device, fault);
	}
}

static void make(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST) {
		guest_die("Cannot make", path, errno);
	}
}

static void must_mount(const char *what, const char *where, const char *type, unsigned long flags,
		       const char *options)
{
	if (mount(what, where, type, flags, options) < 0) {
		guest_die("Cannot mount", where, errno);
	}
}

/* The layer that takes what is written. */
static void mount_upper(void)
{
	char path[PATH_LEN];
	const char *disk = guest_word("squib.disk", NULL, path, sizeof(path));

	if (disk != NULL) {
		must_mount(disk, "/up", "ext4", 0, NULL);
	} else {
		must_mount("tmpfs", "/up", "tmpfs", 0, "mode=755");
	}
	make("/up/upper", DIR_MODE);
	make("/up/work", DIR_MODE);
	must_mount("root", "/new", "overlay", 0,
		   "lowerdir=/low,upperdir=/up/upper,workdir=/up/work");
}

/* What is not there is made, so that any directory will do for an image. */
static void mount_kernels(void)
{
	static const struct {
		const char *path;
		const char *type;
		unsigned long flags;
		const char *options;
	} mounts[] = {
		{"/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
		{"/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
		{"/dev", "devtmpfs", MS_NOSUID, NULL},
		{"/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "ptmxmode=666,gid=5,mode=620"},
		{"/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL},
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		make(mounts[i].path, DIR_MODE);
		must_mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags,
			   mounts[i].options);
	}
}

/* Names that programs expect; some images bring them. */
static void make_names(void)
{
	static const char *const links[][2] = {
		{"/proc/self/fd", "/dev/fd"},	    {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
		{"pts/ptmx", "/dev/ptmx"},
	};
	static const char hosts[] = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		(void)!symlink(links[i][0], links[i][1]);
	}
	make("/tmp", TMP_MODE);
	(void)!chmod("/tmp", TMP_MODE);
	make("/run", DIR_MODE);
	make("/etc", DIR_MODE);
	int fd = open("/etc/hosts", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd >= 0) {
		(void)!write(fd, hosts, sizeof(hosts) - 1);
		close(fd);
	}
}

void guest_make_path(const char *dir)
{
	char path[FRAME_MAX];
	size_t len = strlen(dir);

	if (len >= sizeof(path)) {
		return;
	}
	memcpy(path, dir, len + 1);
	for (char *at = path + 1; *at != '\0'; at++) {
		if (*at == '/') {
			*at = '\0';
			mkdir(path, 0755);
			*at = '/';
		}
	}
	mkdir(path, 0755);
}

const char *guest_mount_volumes(const struct run_request *request)
{
	char tag[PATH_LEN];

	for (unsigned i = 0; i < request->mount_count; i++) {
		const char *word = request->mounts[i];
		size_t len = strcspn(word, " ");
		bool is_read_only = strncmp(word + len, " ro ", 4) == 0;

		if (len >= sizeof(tag) || (!is_read_only && strncmp(word + len, " rw ", 4) != 0)) {
			errno = EINVAL;
			return word;
		}
		memcpy(tag, word, len);
		tag[len] = '\0';
		guest_make_path(word + len + 4);
		if (mount(tag, word + len + 4, "virtiofs", is_read_only ? MS_RDONLY : 0, NULL) <
		    0) {
			return word + len + 4;
		}
	}
	return NULL;
}

void guest_mount_root(void)
{
	char path[PATH_LEN];

	umask(0);
	make("/proc", DIR_MODE);
	make("/dev", DIR_MODE);
	make("/low", DIR_MODE);
	make("/up", DIR_MODE);
	make("/new", DIR_MODE);
	must_mount("proc", "/proc", "proc", 0, NULL);
	if (mount("dev", "/dev", "devtmpfs", 0, NULL) < 0 && errno != EBUSY) {
		guest_die("Cannot mount", "/dev", errno);
	}
	mount_image(guest_word("squib.root", "/dev/vda", path, sizeof(path)));
	mount_upper();
	if (chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0) {
		guest_die("Cannot change to", "the image's root directory", errno);
	}
	mount_kernels();
	make_names();
	umask(022);
}
