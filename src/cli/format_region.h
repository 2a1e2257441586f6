/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_FORMAT_REGION_H
#define CLI_FORMAT_REGION_H

/* The ext4 file system in a region's file. 0, or -errno in words. */

#include <stdint.h>

#include "base/error.h"

/*
 * Makes one in the open file, with mkfs.ext4. Refused when anything is in the region: somebody's
 * data is not written over, and an empty region is quickly made.
 */
int format_region(int fd, const char *path, const char *name, struct error *why);

/* The size of the blocks of the one that is there. */
int region_block_bytes(int fd, const char *name, uint32_t *ret_bytes, struct error *why);

#endif
