/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_LOOP_H
#define KERNEL_LOOP_H

/* Loop devices: a file as a block device. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct loop_device {
	unsigned number; /* of /dev/loopNUMBER */
	dev_t device;
};

/*
 * Those whose file is `path`, an absolute one without links in it; at most `max` of them are given.
 * Returns how many there are.
 */
size_t loop_find(const char *path, struct loop_device *ret_devices, size_t max);

/*
 * Makes a loop device of the open file, which is found by the name `path`. It lives until the last
 * who has it open closes it, or unmounts it; *ret_fd is the first to have it open, the caller's.
 * In words.
 */
int loop_attach(int file_fd, const char *path, uint32_t block_bytes, struct loop_device *ret_device,
		int *ret_fd, struct error *why);

#endif
