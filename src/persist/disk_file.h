/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_DISK_FILE_H
#define PERSIST_DISK_FILE_H

/*
 * What the two halves of a disk that is a file share: disk_file.c opens and makes the file,
 * disk_file_io.c moves bytes. Contract and threads as in persist/disk.h.
 */

#include <liburing.h>

#include "persist/disk.h"

struct disk_file_op {
	struct disk_io *io; /* NULL: free, or given up while the kernel has it yet */
	uint32_t bytes_done;
	uint32_t piece_count;
	bool in_flight;
};

struct disk_file {
	struct disk base;
	int fd;
	uint32_t wait_ms_max;
	bool ring_used;
	bool sync_in_flight;
	int sync_result;
	int failed; /* -errno once nothing may be written any more */
	struct io_uring ring;
	struct disk_io *done; /* finished, not yet returned by wait */
	uint32_t free_count;
	uint8_t free_ops[DISK_DEPTH_MAX];
	struct disk_file_op ops[DISK_DEPTH_MAX];
};

/* Takes the open file; without a ring if the kernel permits none, or `no_ring`. 0 or -errno. */
int disk_file_new(int fd, uint64_t bytes, const struct disk_file_options *options,
		  struct disk_file **ret_file);

#endif
