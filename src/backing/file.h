/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_FILE_H
#define BACKING_FILE_H

/*
 * What the two halves of the file backing share: file.c finds, opens and grows the file,
 * file_channel.c moves pages. Contract and threads as in backing/backing.h.
 *
 * All bytes pass through bounce pages of the channel. The device never writes to the caller's
 * pages: an io that is abandoned cannot land there later, and a page just fetched is not still
 * pinned when the caller wants to move it. It costs one copy of 0.1 to 0.3 us a page.
 */

#include <stdatomic.h>

#include "backing/backing.h"

enum file_io_mode {
	FILE_IO_AUTO, /* io_uring where the kernel permits it, else as FILE_IO_SYNC */
	FILE_IO_RING,
	FILE_IO_SYNC, /* pread and pwrite: submit waits for the disk */
};

/* In memory that the family of processes shares. */
struct file_shared {
	/*
	 * Stores that the disk did not finish before their channel was closed, and that may yet
	 * overwrite whatever is stored in their slots later: the backing is not to be used again.
	 */
	_Atomic uint32_t stores_abandoned;
};

struct file_channel;

struct file_backing {
	struct backing base;
	int fd;
	bool device; /* a block device: it cannot grow */
	enum file_io_mode io_mode;
	uint32_t wait_ms_max;
	uint64_t bytes_max;	 /* of ?size=, or of the device; UINT64_MAX: none */
	uint64_t bytes_reserved; /* by this process */
	struct file_shared *shared;
	struct file_channel *channels; /* open ones; control path */
	/* A page that the kernel zeroes in a forked child: false there until it has reattached. */
	bool *same_process;
};

int file_channel_open(struct backing *backing, struct backing_channel **ret_channel,
		      struct error *why);
void file_channel_close(struct backing_channel *channel);
int file_channel_submit(struct backing_channel *channel, struct backing_io *io);
void file_channel_poll(struct backing_channel *channel);

/*
 * In a forked child: gives back what the parent's channels have here, without touching their rings,
 * which go on working for the parent. Their structs stay for file_channel_close().
 */
void file_channels_forget(struct file_backing *file);

#endif
