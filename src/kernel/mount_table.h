/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_MOUNT_TABLE_H
#define KERNEL_MOUNT_TABLE_H

/* What is mounted where, as this process sees it: /proc/self/mountinfo. */

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct mount_entry {
	dev_t device;
	char path[PATH_MAX];
};

/* One line of that file; false if it is none. Pure. */
bool mount_entry_parse(const char *line, struct mount_entry *ret_entry);

/*
 * The mount of `device` that was made last and that its path still leads to: nothing is mounted
 * over it. 0 or -ENOENT.
 */
int mount_table_find(dev_t device, struct mount_entry *ret_entry);

#endif
