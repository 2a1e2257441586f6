/* SPDX-License-Identifier: Apache-2.0 */

/*
 * file: pages in a file without a name, or on a block device; slot N is the page at N × PAGE_BYTES.
 * Nothing is left on the disk: the file is unlinked before the first page goes into it.
 */

#include "backing/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing/uri.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "base/own_memory.h"
#include "base/units.h"

#define OPEN_FLAGS (O_RDWR | O_CLOEXEC)
#define OPEN_TRIES_MAX 1000 /* each that fails is one in which another process got its file */

struct file_uri {
	char path[BACKING_URI_BYTES];
	uint64_t bytes_max;
	bool overwrite;
	enum file_io_mode io_mode;
};

static struct file_backing *file_of(struct backing *backing)
{
	return (struct file_backing *)backing;
}

static int take_option(struct file_uri *uri, const char *name, const char *value,
		       struct error *reason)
{
	if (!value)
		value = "";
	if (!strcmp(name, "size"))
		return parse_size(value, &uri->bytes_max, reason);
	if (!strcmp(name, "overwrite") && !strcmp(value, "yes"))
		uri->overwrite = true;
	else if (!strcmp(name, "io") && !strcmp(value, "sync"))
		uri->io_mode = FILE_IO_SYNC;
	else if (!strcmp(name, "io") && !strcmp(value, "uring"))
		uri->io_mode = FILE_IO_RING;
	else
		return error_set(reason, -EINVAL,
				 "unknown option \"%.40s\"; known: size=SIZE, overwrite=yes, "
				 "io=sync, io=uring",
				 name);
	return 0;
}

static int parse_uri(const char *rest, struct file_uri *ret_uri, struct error *why)
{
	struct file_uri uri = {.bytes_max = UINT64_MAX};
	struct error reason;
	char *cursor, *name, *value;

	if (strlen(rest) >= sizeof(uri.path))
		return uri_bad(why, "file", rest, "too long");
	strcpy(uri.path, rest);
	cursor = strchr(uri.path, '?');
	if (cursor)
		*cursor++ = '\0';
	if (!uri.path[0])
		return uri_bad(why, "file", rest, "no path: name a directory or a new file");
	while (uri_next_option(&cursor, '&', &name, &value)) {
		if (take_option(&uri, name, value, &reason))
			return uri_bad(why, "file", rest, "%s", reason.text);
	}
	*ret_uri = uri;
	return 0;
}

static int file_check(const char *rest, struct error *why)
{
	struct file_uri uri;

	return parse_uri(rest, &uri, why);
}

/* Opens without O_DIRECT where the file system has none. -errno. */
static int open_direct(const char *path, int flags)
{
	int fd = open(path, OPEN_FLAGS | O_DIRECT | flags, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, OPEN_FLAGS | flags, 0600);
	return fd < 0 ? -errno : fd;
}

/* Under a name nobody else takes, for file systems without unnamed files. */
static int open_then_unlink(const char *folder)
{
	char path[BACKING_URI_BYTES + 64];
	int fd;

	snprintf(path, sizeof(path), "%s/.perdure-%ld-%" PRIx64, folder, (long)getpid(),
		 clock_now_ns());
	fd = open_direct(path, O_CREAT | O_EXCL);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static int open_in_folder(const char *folder)
{
	int fd = open_direct(folder, O_TMPFILE | O_EXCL);

	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -ENOENT)
		return open_then_unlink(folder);
	return fd;
}

/*
 * A file that did not exist, or an empty one: nothing of it is left under its name. It is whose
 * unlink finds it: -EAGAIN if another process, of the same run for example, was faster.
 */
static int open_and_unlink(const char *path, int flags)
{
	int fd = open_direct(path, flags);

	if (fd == -EEXIST || (fd == -ENOENT && !(flags & O_CREAT)))
		return -EAGAIN;
	if (fd >= 0 && unlink(path)) {
		int err = errno == ENOENT ? -EAGAIN : -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int open_device(const struct file_uri *uri, struct error *why)
{
	int fd;

	if (!uri->overwrite)
		return error_set(why, -EEXIST,
				 "\"file:%s\" is a block device: everything on it would be "
				 "overwritten; add ?overwrite=yes if it may be",
				 uri->path);
	/* Exclusive: refused while it is mounted, or while another session has it. */
	fd = open_direct(uri->path, O_EXCL);
	if (fd == -EBUSY)
		return error_set(why, fd,
				 "\"file:%s\" is in use: mounted, or far memory of another program",
				 uri->path);
	if (fd < 0)
		return error_set(why, fd, "cannot open \"file:%s\": %s", uri->path, strerror(-fd));
	return fd;
}

/* Returns a descriptor, -EAGAIN if the file came or went meanwhile, or another -errno in words. */
static int try_path(const struct file_uri *uri, struct error *why)
{
	struct stat status;
	int fd;

	if (stat(uri->path, &status)) {
		fd = errno == ENOENT ? open_and_unlink(uri->path, O_CREAT | O_EXCL) : -errno;
	} else if (S_ISDIR(status.st_mode)) {
		fd = open_in_folder(uri->path);
	} else if (S_ISBLK(status.st_mode)) {
		return open_device(uri, why);
	} else if (!S_ISREG(status.st_mode)) {
		return error_set(why, -EINVAL,
				 "\"file:%s\" is no file, directory or block device", uri->path);
	} else if (status.st_size > 0) {
		return error_set(
			why, -EEXIST,
			"\"file:%s\" exists and is not empty: name a directory or a new file",
			uri->path);
	} else {
		fd = open_and_unlink(uri->path, 0);
	}
	if (fd < 0)
		error_set(why, fd, "cannot open \"file:%s\": %s", uri->path, strerror(-fd));
	return fd;
}

static int open_path(const struct file_uri *uri, struct error *why)
{
	int fd = -EAGAIN;

	for (int i = 0; fd == -EAGAIN && i < OPEN_TRIES_MAX; i++)
		fd = try_path(uri, why);
	return fd;
}

static void make_ticket(int fd, uint8_t ticket[BACKING_TICKET_BYTES])
{
	struct stat status = {0};

	memset(ticket, 0, BACKING_TICKET_BYTES);
	fstat(fd, &status);
	snprintf((char *)ticket, BACKING_TICKET_BYTES, "file %ld %d %" PRIu64 " %" PRIu64,
		 (long)getpid(), fd, (uint64_t)status.st_dev, (uint64_t)status.st_ino);
}

/* The unnamed file of another process is reached through that process, while it lives. */
static int open_ticket(const uint8_t *ticket, struct error *why)
{
	char text[BACKING_TICKET_BYTES + 1] = {0}, path[64];
	uint64_t device, inode;
	struct stat status;
	long pid;
	int fd;

	memcpy(text, ticket, BACKING_TICKET_BYTES);
	if (sscanf(text, "file %ld %d %" SCNu64 " %" SCNu64, &pid, &fd, &device, &inode) != 4)
		return error_set(why, -EINVAL, "the ticket to join is not one of a file");
	snprintf(path, sizeof(path), "/proc/%ld/fd/%d", pid, fd);
	fd = open_direct(path, 0);
	if (fd < 0)
		return error_set(why, fd, "cannot join the file of process %ld: %s", pid,
				 strerror(-fd));
	if (fstat(fd, &status) || status.st_dev != device || status.st_ino != inode) {
		close(fd);
		return error_set(why, -ESTALE, "process %ld has no longer the file to join", pid);
	}
	return fd;
}

/*
 * Writes one page to where no page lies yet. Some file systems accept O_DIRECT at open and refuse
 * the transfers; they are used through the page cache, like those that refuse at open.
 */
static int probe_write(int fd)
{
	void *page;
	int err = own_memory_map(PAGE_BYTES, &page);

	if (err)
		return err;
	if (syscall(SYS_pwrite64, fd, page, PAGE_BYTES, (off_t)0) == (long)PAGE_BYTES)
		err = 0;
	else if (errno != EINVAL || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_DIRECT))
		err = errno ? -errno : -EIO;
	own_memory_unmap(page, PAGE_BYTES);
	return err;
}

/* A block device is as large as it is. */
static int limit_to_device(struct file_backing *file, struct error *why)
{
	struct stat status;
	uint64_t bytes;

	if (fstat(file->fd, &status) || !S_ISBLK(status.st_mode))
		return 0;
	file->device = true;
	if (ioctl(file->fd, BLKGETSIZE64, &bytes))
		return error_set(why, -errno, "cannot ask the block device's size: %s",
				 strerror(errno));
	if (file->bytes_max > bytes)
		file->bytes_max = bytes;
	return 0;
}

static int map_state(struct file_backing *file)
{
	void *memory;
	int err = own_memory_map_shared(PAGE_BYTES, &memory);

	if (err)
		return err;
	file->shared = memory;
	err = own_memory_map(PAGE_BYTES, &memory);
	if (err)
		return err;
	file->same_process = memory;
	if (syscall(SYS_madvise, memory, PAGE_BYTES, MADV_WIPEONFORK))
		return -errno;
	*file->same_process = true;
	return 0;
}

static void file_close(struct backing *backing)
{
	struct file_backing *file = file_of(backing);

	descriptor_close(file->fd);
	own_memory_unmap(file->shared, PAGE_BYTES);
	own_memory_unmap(file->same_process, PAGE_BYTES);
	own_memory_unmap(file, sizeof(*file));
}

static int open_file(struct file_backing *file, const struct file_uri *uri,
		     const struct backing_options *options, struct error *why)
{
	int err = map_state(file);

	if (err)
		return error_set(why, err, "cannot open \"file:%s\": %s", uri->path,
				 strerror(-err));
	file->fd = options->ticket ? open_ticket(options->ticket, why) : open_path(uri, why);
	if (file->fd < 0)
		return file->fd;
	file->fd = descriptor_move_up(file->fd);
	err = limit_to_device(file, why);
	if (err || options->ticket)
		return err;
	err = probe_write(file->fd);
	if (err)
		error_set(why, err, "cannot write to \"file:%s\": %s", uri->path, strerror(-err));
	return err;
}

static int file_open(const char *rest, const struct backing_options *options,
		     struct backing **ret_backing, struct error *why)
{
	struct file_backing *file;
	struct file_uri uri;
	void *memory;
	int err = parse_uri(rest, &uri, why);

	if (err)
		return err;
	err = own_memory_map(sizeof(*file), &memory);
	if (err)
		return error_set(why, err, "cannot open \"file:%s\": %s", rest, strerror(-err));
	file = memory;
	file->base.ops = &backing_file_ops;
	file->fd = -1;
	file->io_mode = uri.io_mode;
	file->bytes_max = uri.bytes_max;
	file->wait_ms_max = options->wait_ms_max;
	err = open_file(file, &uri, options, why);
	if (err) {
		file_close(&file->base);
		return err;
	}
	make_ticket(file->fd, file->base.ticket);
	*ret_backing = &file->base;
	return 0;
}

/* File systems that cannot reserve get a file of that length, if there is room for it now. */
static int grow_unreserved(int fd, uint64_t from, uint64_t bytes)
{
	struct statvfs room;

	if (fstatvfs(fd, &room))
		return -errno;
	if ((uint64_t)room.f_bavail * room.f_frsize < bytes - from)
		return -ENOSPC;
	return ftruncate(fd, (off_t)bytes) ? -errno : 0;
}

static int grow(struct file_backing *file, uint64_t bytes)
{
	struct rlimit limit;

	/* Past this limit the kernel would not only refuse but signal the program. */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && bytes > limit.rlim_cur)
		return -EFBIG;
	for (int tries = 0; tries < 8; tries++) {
		if (!fallocate(file->fd, 0, 0, (off_t)bytes))
			return 0;
		if (errno == EOPNOTSUPP)
			return grow_unreserved(file->fd, file->bytes_reserved, bytes);
		if (errno != EINTR)
			break;
	}
	return -errno;
}

static int file_reserve(struct backing *backing, uint64_t slot_count, struct error *why)
{
	struct file_backing *file = file_of(backing);
	char wanted[UNITS_TEXT_BYTES], limit[UNITS_TEXT_BYTES];
	uint64_t bytes;
	int err = 0;

	if (__builtin_mul_overflow(slot_count, PAGE_BYTES, &bytes) || bytes > INT64_MAX)
		return error_set(why, -ENOSPC, "\"%s\" has no room for %" PRIu64 " pages",
				 backing->uri, slot_count);
	if (bytes <= file->bytes_reserved)
		return 0;
	format_size(bytes, wanted);
	if (bytes > file->bytes_max)
		return error_set(why, -ENOSPC, "\"%s\" has no room for %s: its limit is %s",
				 backing->uri, wanted, format_size(file->bytes_max, limit));
	if (!file->device)
		err = grow(file, bytes);
	if (err == -EFBIG)
		return error_set(
			why, -ENOSPC,
			"\"%s\" cannot grow to %s: larger than a file may be here (ulimit -f)",
			backing->uri, wanted);
	if (err)
		return error_set(why, err, "\"%s\" cannot grow to %s: %s", backing->uri, wanted,
				 strerror(-err));
	file->bytes_reserved = bytes;
	return 0;
}

static int file_reattach(struct backing *backing, const uint8_t *ticket, struct error *why)
{
	struct file_backing *file = file_of(backing);
	int fd;

	if (!*file->same_process) {
		file_channels_forget(file);
		*file->same_process = true;
	}
	if (!ticket || !memcmp(ticket, backing->ticket, sizeof(backing->ticket)))
		return 0;
	fd = open_ticket(ticket, why);
	if (fd < 0)
		return fd;
	descriptor_close(file->fd);
	file->fd = descriptor_move_up(fd);
	make_ticket(file->fd, backing->ticket);
	return 0;
}

static uint64_t file_bytes_held(struct backing *backing)
{
	const struct file_backing *file = file_of(backing);
	struct stat status;

	if (file->device || fstat(file->fd, &status))
		return file->bytes_reserved;
	return (uint64_t)status.st_blocks * 512;
}

/*
 * No discard: a hole would have to be punched, which waits for the journal and gives up the room
 * that was reserved.
 */
const struct backing_ops backing_file_ops = {
	.scheme = "file",
	.check = file_check,
	.open = file_open,
	.close = file_close,
	.reserve = file_reserve,
	.reattach = file_reattach,
	.channel_open = file_channel_open,
	.channel_close = file_channel_close,
	.submit = file_channel_submit,
	.poll = file_channel_poll,
	.bytes_held = file_bytes_held,
};
