/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_REGION_MOUNT_H
#define CLI_REGION_MOUNT_H

/*
 * A file system on a region, for programs that want files: ext4 on a loop device on the region's
 * file. The loop device goes with the mount. Both need root. 0, or -errno in words.
 */

#include <stdbool.h>

#include "base/error.h"

/*
 * Mounts region `name` of the agent of `folder` on `directory`; waits until it is restored. With
 * `format` it gets a new file system, if it is all zeros.
 */
int region_mount(const char *folder, const char *name, const char *directory, bool format,
		 struct error *why);

/* `what` is a region's name, or the directory it is mounted on. */
int region_unmount(const char *folder, const char *what, struct error *why);

#endif
