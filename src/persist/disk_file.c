/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An image's file. It is made at its full length and written to its end, so that a save neither
 * asks the file system for room nor makes it convert blocks that were only reserved.
 */

#include "persist/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/own_memory.h"
#include "base/units.h"

#define LOCK_NAP_NS 2000000u
#define NS_PER_MS 1000000ull
#define FILL_DEPTH 8

/* Sees whether the file system takes direct transfers: some refuse only when they come. */
static int choose_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL), err = 0;
	void *page;

	if (fcntl(fd, F_SETFL, flags | O_DIRECT))
		return 0;
	err = own_memory_map(4096, &page);
	if (err)
		return err;
	if (pread(fd, page, 4096, 0) < 0 && (errno != EINVAL || fcntl(fd, F_SETFL, flags)))
		err = -errno;
	own_memory_unmap(page, 4096);
	return err;
}

/* A killed agent's ring holds the file, and with it the lock, until the kernel has put it away. */
static int lock(int fd, const char *path, uint32_t wait_ms, struct error *why)
{
	uint64_t end_ns = clock_now_ns() + wait_ms * NS_PER_MS;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_set(why, -errno, "cannot lock \"%s\": %s", path,
					 strerror(errno));
		if (clock_now_ns() >= end_ns)
			return error_set(why, -EBUSY, "\"%s\" is in use by another agent", path);
		clock_sleep_ns(LOCK_NAP_NS);
	}
	return 0;
}

static int no_room(int fd, const char *path, uint64_t bytes, struct error *why)
{
	char wanted[UNITS_TEXT_BYTES], left[UNITS_TEXT_BYTES];
	struct statvfs room;

	if (fstatvfs(fd, &room))
		return error_set(why, -ENOSPC, "\"%s\" has no room for %s", path,
				 format_size(bytes, wanted));
	return error_set(why, -ENOSPC, "\"%s\" has no room for %s: %s are free", path,
			 format_size(bytes, wanted),
			 format_size((uint64_t)room.f_bavail * room.f_frsize, left));
}

/* Reserves the room, or where the file system cannot, sees that it is free now. */
static int reserve(int fd, const char *path, uint64_t bytes, struct error *why)
{
	struct statvfs room;
	struct rlimit limit;
	int err = 0;

	/* Past this limit the kernel would not only refuse but signal the process. */
	if (bytes > INT64_MAX || (!getrlimit(RLIMIT_FSIZE, &limit) && bytes > limit.rlim_cur))
		return error_set(why, -EFBIG,
				 "\"%s\" would be larger than a file may be here (ulimit -f)",
				 path);
	if (!fstatvfs(fd, &room) && (uint64_t)room.f_bavail * room.f_frsize < bytes)
		return no_room(fd, path, bytes, why);
	while (!err && fallocate(fd, 0, 0, (off_t)bytes)) {
		if (errno == EOPNOTSUPP) {
			err = ftruncate(fd, (off_t)bytes) ? -errno : 0;
			break;
		}
		err = errno == EINTR ? 0 : -errno;
	}
	if (err == -ENOSPC)
		return no_room(fd, path, bytes, why);
	if (err)
		return error_set(why, err, "cannot reserve room for \"%s\": %s", path,
				 strerror(-err));
	return 0;
}

/* Sends one more write of zeros; *at moves behind it. */
static int send_zeros(struct disk *disk, struct disk_io *io, const void *zeros, uint64_t *at)
{
	uint64_t left = disk->bytes - *at;

	io->offset = *at;
	io->bytes = zeros;
	io->byte_count = left < DISK_IO_BYTES_MAX ? (uint32_t)left : DISK_IO_BYTES_MAX;
	*at += io->byte_count;
	return disk->ops->submit(disk, io);
}

static int fill(struct disk *disk, const void *zeros)
{
	struct disk_io ios[FILL_DEPTH], *io;
	uint64_t at = 0;
	int err = 0;

	for (int i = 0; i < FILL_DEPTH && at < disk->bytes && !err; i++)
		err = send_zeros(disk, &ios[i], zeros, &at);
	while ((io = disk->ops->wait(disk))) {
		if (!err)
			err = io->result;
		if (!err && at < disk->bytes)
			err = send_zeros(disk, io, zeros, &at);
	}
	return err ? err : disk->ops->sync(disk);
}

static int write_to_end(struct disk *disk, int fd, const char *path, struct error *why)
{
	void *zeros;
	int err = own_memory_map(DISK_IO_BYTES_MAX, &zeros);

	if (!err) {
		err = fill(disk, zeros);
		/* After a timeout the kernel may yet read from them. */
		if (err != -ETIMEDOUT)
			own_memory_unmap(zeros, DISK_IO_BYTES_MAX);
	}
	if (err == -ENOSPC)
		return no_room(fd, path, disk->bytes, why);
	if (err)
		return error_set(why, err, "cannot write \"%s\" to its end: %s", path,
				 strerror(-err));
	return 0;
}

/* The name itself is durable once its folder is. */
static int sync_folder(const char *path, struct error *why)
{
	CLEANUP_FREE char *copy = strdup(path);
	CLEANUP_FD int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (!copy)
		return error_set(why, -ENOMEM, "no memory");
	if (fd < 0 || fsync(fd))
		return error_set(why, -errno, "cannot sync the folder of \"%s\": %s", path,
				 strerror(errno));
	return 0;
}

static int start(int fd, const char *path, uint64_t bytes, const struct disk_file_options *options,
		 struct disk_file **ret_file, struct error *why)
{
	int err = choose_direct(fd);

	if (!err)
		err = disk_file_new(fd, bytes, options, ret_file);
	if (err)
		return error_set(why, err, "cannot use \"%s\": %s", path, strerror(-err));
	return 0;
}

static int make(const char *path, const struct disk_file_options *options,
		struct disk_file **ret_file, struct error *why)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct disk_file *file;
	int err;

	if (fd < 0)
		return error_set(why, -errno, "cannot create \"%s\": %s", path, strerror(errno));
	err = lock(fd, path, 0, why);
	if (!err)
		err = reserve(fd, path, options->create_bytes, why);
	if (!err)
		err = start(fd, path, options->create_bytes, options, &file, why);
	if (err) {
		unlink(path);
		return err;
	}
	err = write_to_end(&file->base, fd, path, why);
	if (!err)
		err = sync_folder(path, why);
	take_fd(&fd);
	if (err) {
		unlink(path);
		file->base.ops->close(&file->base);
		return err;
	}
	*ret_file = file;
	return 0;
}

static int open_existing(const char *path, const struct disk_file_options *options,
			 struct disk_file **ret_file, struct error *why)
{
	CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	int err;

	if (fd < 0 || fstat(fd, &status))
		return error_set(why, -errno, "cannot open \"%s\": %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return error_set(why, -EINVAL, "\"%s\" is no regular file", path);
	err = lock(fd, path, options->lock_ms_max, why);
	if (!err)
		err = start(fd, path, (uint64_t)status.st_size / 4096 * 4096, options, ret_file,
			    why);
	if (!err)
		take_fd(&fd);
	return err;
}

int disk_file_open(const char *path, const struct disk_file_options *options,
		   struct disk **ret_disk, struct error *why)
{
	struct disk_file *file;
	int err;

	if (options->create_bytes % 4096)
		return error_set(why, -EINVAL, "\"%s\" cannot have %" PRIu64 " bytes", path,
				 options->create_bytes);
	err = options->create_bytes ? make(path, options, &file, why)
				    : open_existing(path, options, &file, why);
	if (!err)
		*ret_disk = &file->base;
	return err;
}
