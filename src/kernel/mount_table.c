/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/mount_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static bool is_octal(const char *text)
{
	for (int i = 0; i < 3; i++) {
		if (text[i] < '0' || text[i] > '7')
			return false;
	}
	return true;
}

/* White space and backslashes are written as \ooo. */
static bool decode(const char *text, size_t length, char ret_path[PATH_MAX])
{
	size_t bytes = 0;

	for (size_t i = 0; i < length; i++) {
		if (bytes == PATH_MAX - 1)
			return false;
		if (text[i] == '\\' && length - i > 3 && is_octal(text + i + 1)) {
			ret_path[bytes++] = (char)((text[i + 1] - '0') << 6 |
						   (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
			i += 3;
		} else {
			ret_path[bytes++] = text[i];
		}
	}
	ret_path[bytes] = '\0';
	return bytes > 0;
}

/* "36 35 98:0 /root /mnt/point rw,noatime ..." */
bool mount_entry_parse(const char *line, struct mount_entry *ret_entry)
{
	unsigned major_number, minor_number;
	int start = 0;
	size_t length;

	if (sscanf(line, "%*d %*d %u:%u %*s %n", &major_number, &minor_number, &start) != 2 ||
	    start == 0)
		return false;
	length = strcspn(line + start, " \n");
	if (!decode(line + start, length, ret_entry->path))
		return false;
	ret_entry->device = makedev(major_number, minor_number);
	return true;
}

int mount_table_find(dev_t device, struct mount_entry *ret_entry)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	struct mount_entry entry;
	struct stat status;
	char *line = NULL;
	size_t bytes = 0;
	int err = -ENOENT;

	while (table && getline(&line, &bytes, table) > 0) {
		if (!mount_entry_parse(line, &entry) || entry.device != device ||
		    stat(entry.path, &status) || status.st_dev != device)
			continue;
		*ret_entry = entry;
		err = 0;
	}
	free(line);
	if (table)
		fclose(table);
	return err;
}
