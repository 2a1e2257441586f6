/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_DISK_H
#define PERSIST_DISK_H

/*
 * Where an image lies, behind one ops table: a file on a disk (persist/disk_file.c: io_uring and
 * O_DIRECT, else pread and pwrite), or a disk that a test makes up, which loses what was not synced
 * and fails when it is told to.
 *
 * Threads: read() may be called by any thread at any time. Everything else is one thread's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DISK_IO_BYTES_MAX (1u << 20)
#define DISK_DEPTH_MAX 64

/*
 * A write on its way. The caller owns it and its bytes; from submit until poll has returned it the
 * disk alone may use them.
 */
struct disk_io {
	uint64_t offset; /* a multiple of 4096, like byte_count and the address of bytes */
	const void *bytes;
	uint32_t byte_count;
	int result;	      /* 0 or -errno when it is done; -EIO of a write that was short */
	struct disk_io *next; /* the disk's, while it is on its way */
};

struct disk {
	const struct disk_ops *ops;
	uint64_t bytes; /* its size; it does not grow */
};

struct disk_ops {
	/*
	 * 0, or -errno when it cannot be begun: then the io stays the caller's. At most
	 * DISK_DEPTH_MAX at a time, -EAGAIN beyond.
	 */
	int (*submit)(struct disk *disk, struct disk_io *io);
	/*
	 * Waits until an io is done and returns it; NULL when none is on its way. The order is
	 * any. Every wait has the disk's limit: ios not done by then are returned with -ETIMEDOUT,
	 * and the disk must not be written to again (their bytes are kept until it is closed).
	 */
	struct disk_io *(*wait)(struct disk *disk);
	/*
	 * All writes that were returned are durable. None is on its way. After an error each write
	 * since the sync before may be durable or lost for ever, whatever a later sync says.
	 */
	int (*sync)(struct disk *disk);
	/* Multiples of 4096 as in a write. 0 or -errno; -EIO for an end of file. Has no limit. */
	int (*read)(struct disk *disk, uint64_t offset, void *bytes, uint32_t byte_count);
	/*
	 * 0, or -EBUSY when writes that timed out are still on their way: then their bytes must
	 * stay where they are for the rest of the process, and the file stays locked.
	 */
	int (*close)(struct disk *disk);
};

struct disk_file_options {
	uint64_t create_bytes; /* 0: it exists; else it must not, and is written to its end */
	uint32_t wait_ms_max;  /* in which some write, or the sync, comes to its end */
	uint32_t lock_ms_max;  /* until another agent, killed perhaps, has let go of it */
	bool no_ring;	       /* pread and pwrite only, without a limit: for the fallback's test */
};

/*
 * Opens or creates the file `path` for one agent: a lock keeps others out. In words: -ENOSPC with
 * what is free, -EEXIST, -EBUSY for a file that another agent has. A file that could not be made
 * whole is removed. Creating takes as long as writing the bytes does.
 */
int disk_file_open(const char *path, const struct disk_file_options *options,
		   struct disk **ret_disk, struct error *why);

#endif
