/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"

#define CONTROL "/dev/loop-control"
#define TRIES 64 /* a free one may be another's before it is ours */

/* One line of a file of the kernel's, without its end. */
static bool read_line(const char *path, char *ret_line, size_t bytes_max)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? -1 : read(fd, ret_line, bytes_max - 1);

	if (bytes <= 0)
		return false;
	ret_line[bytes] = '\0';
	ret_line[strcspn(ret_line, "\n")] = '\0';
	return true;
}

static bool read_device(unsigned number, dev_t *ret_device)
{
	char path[64], line[32];
	unsigned major_number, minor_number;

	snprintf(path, sizeof(path), "/sys/block/loop%u/dev", number);
	if (!read_line(path, line, sizeof(line)) ||
	    sscanf(line, "%u:%u", &major_number, &minor_number) != 2)
		return false;
	*ret_device = makedev(major_number, minor_number);
	return true;
}

/* The kernel says the path by which it was given the file; it may have others. */
static bool is_same(const char *path, const char *other)
{
	struct stat file, other_file;

	if (!strcmp(path, other))
		return true;
	return !stat(path, &file) && !stat(other, &other_file) &&
	       file.st_ino == other_file.st_ino && file.st_dev == other_file.st_dev;
}

size_t loop_find(const char *path, struct loop_device *ret_devices, size_t max)
{
	DIR *folder = opendir("/sys/block");
	char name[PATH_MAX], file[PATH_MAX];
	struct loop_device device;
	struct dirent *entry;
	size_t count = 0;

	while (folder && (entry = readdir(folder))) {
		if (sscanf(entry->d_name, "loop%u", &device.number) != 1)
			continue;
		snprintf(name, sizeof(name), "/sys/block/%s/loop/backing_file", entry->d_name);
		if (!read_line(name, file, sizeof(file)) || !is_same(path, file) ||
		    !read_device(device.number, &device.device))
			continue;
		if (count < max)
			ret_devices[count] = device;
		count++;
	}
	if (folder)
		closedir(folder);
	return count;
}

/* 0 with the number of a device that is free, or was a moment ago. */
static int find_free(unsigned *ret_number, struct error *why)
{
	CLEANUP_FD int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	int number;

	if (fd < 0)
		return error_set(why, -errno,
				 "cannot open \"" CONTROL "\": %s; loop devices need the kernel "
				 "module \"loop\", and root",
				 strerror(errno));
	number = ioctl(fd, LOOP_CTL_GET_FREE);
	if (number < 0)
		return error_set(why, -errno, "no loop device is free: %s", strerror(errno));
	*ret_number = (unsigned)number;
	return 0;
}

/* -EBUSY: somebody else was quicker. */
static int attach_to(unsigned number, const struct loop_config *config, int *ret_fd,
		     struct error *why)
{
	char path[64];
	CLEANUP_FD int fd = -1;

	snprintf(path, sizeof(path), "/dev/loop%u", number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_set(why, -errno, "cannot open \"%s\": %s", path, strerror(errno));
	if (ioctl(fd, LOOP_CONFIGURE, config))
		return error_set(why, -errno, "cannot set up \"%s\": %s", path, strerror(errno));
	*ret_fd = take_fd(&fd);
	return 0;
}

int loop_attach(int file_fd, const char *path, uint32_t block_bytes, struct loop_device *ret_device,
		int *ret_fd, struct error *why)
{
	struct loop_config config = { .fd = (uint32_t)file_fd, .block_size = block_bytes };
	struct loop_device device = { 0 };
	int err = -EBUSY;

	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%s", path);
	for (int i = 0; err == -EBUSY && i < TRIES; i++) {
		err = find_free(&device.number, why);
		if (!err)
			err = attach_to(device.number, &config, ret_fd, why);
	}
	if (err)
		return err;
	if (!read_device(device.number, &device.device)) {
		close(*ret_fd);
		return error_set(why, -ENODEV, "/sys has no loop%u", device.number);
	}
	*ret_device = device;
	return 0;
}
