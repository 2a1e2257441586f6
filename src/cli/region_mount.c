/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/region_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/agent_call.h"
#include "cli/format_region.h"
#include "kernel/loop.h"
#include "kernel/mount_table.h"

#define NAP_NS 100000000u	/* between two questions whether it is restored */
#define DETACH_NS 5000000000ull /* the kernel lets go of a loop device soon after the unmount */
#define OPTIONS "errors=remount-ro"

/* ---- The region ---- */

/* Where its file is, as the kernel calls it. */
static int path_of(const char *folder, const char *name, char ret_path[PATH_MAX], struct error *why)
{
	char real[PATH_MAX];
	int bytes;

	if (!realpath(folder, real))
		return error_set(why, -errno, "the agent's folder \"%s\": %s", folder,
				 strerror(errno));
	bytes = snprintf(ret_path, PATH_MAX, "%s/%s", real, name);
	return bytes < PATH_MAX ? 0 : error_set(why, -ENAMETOOLONG, "\"%s\" is too long", folder);
}

static json_t *find_region(json_t *status, const char *name)
{
	json_t *region;
	size_t index;

	json_array_foreach(json_object_get(status, "regions"), index, region)
	{
		const char *text = json_string_value(json_object_get(region, "name"));

		if (text && !strcmp(text, name))
			return region;
	}
	return NULL;
}

/* 0 when it can be used, -EAGAIN while it is being restored. */
static int check_region(const char *folder, const char *name, struct error *why)
{
	struct agent_request request;
	const char *state;
	json_t *status, *region;
	int err = agent_request_make(&request, AGENT_STATUS, NULL, why);

	if (!err)
		err = agent_call_json(folder, &request, AGENT_LIMIT_MS, &status, why);
	if (err)
		return err;
	region = find_region(status, name);
	state = json_string_value(json_object_get(region, "state"));
	if (!region || !state)
		err = error_set(why, -ENOENT, "there is no region \"%s\"", name);
	else if (!strcmp(state, "restoring"))
		err = -EAGAIN;
	else if (strcmp(state, "live"))
		err = error_set(why, -EBADMSG, "region \"%s\" is %s: `perdure region list`", name,
				state);
	else if (json_integer_value(json_object_get(region, "writers")) > 0)
		err = error_set(why, -EBUSY,
				"region \"%s\" is mapped by %" JSON_INTEGER_FORMAT
				" programs: a file system wants it alone",
				name, json_integer_value(json_object_get(region, "writers")));
	json_decref(status);
	return err;
}

static int check_directory(const char *directory, struct error *why)
{
	struct stat status;

	if (stat(directory, &status))
		return error_set(why, -errno, "\"%s\": %s; make the directory first", directory,
				 strerror(errno));
	return S_ISDIR(status.st_mode)
		       ? 0
		       : error_set(why, -ENOTDIR, "\"%s\" is no directory", directory);
}

/* Two file systems on one file would destroy one another. */
static int check_unused(const char *path, const char *name, struct error *why)
{
	struct loop_device loop;
	struct mount_entry entry;

	if (!loop_find(path, &loop, 1))
		return 0;
	if (mount_table_find(loop.device, &entry))
		return error_set(why, -EBUSY,
				 "region \"%s\" is the file of /dev/loop%u: `losetup -d "
				 "/dev/loop%u` first",
				 name, loop.number, loop.number);
	return error_set(why, -EBUSY, "region \"%s\" is mounted on \"%s\" already", name,
			 entry.path);
}

/* ---- Mount ---- */

static int mount_device(const struct loop_device *loop, const char *name, const char *directory,
			struct error *why)
{
	char device[64];

	snprintf(device, sizeof(device), "/dev/loop%u", loop->number);
	/* Times of access would be written for nothing but that something was read. */
	if (!mount(device, directory, "ext4", MS_NOATIME, OPTIONS))
		return 0;
	return error_set(why, -errno, "cannot mount region \"%s\" on \"%s\": %s; dmesg says more",
			 name, directory, strerror(errno));
}

int region_mount(const char *folder, const char *name, const char *directory, bool format,
		 struct error *why)
{
	int file = -1, device = -1, err = agent_check_name(name, why);
	struct loop_device loop;
	uint32_t block_bytes;
	char path[PATH_MAX];

	if (!err)
		err = check_directory(directory, why);
	while (!err && (err = check_region(folder, name, why)) == -EAGAIN) {
		clock_sleep_ns(NAP_NS);
		err = 0;
	}
	if (!err)
		err = path_of(folder, name, path, why);
	if (!err)
		err = check_unused(path, name, why);
	if (!err && (file = open(path, O_RDWR | O_CLOEXEC)) < 0)
		err = error_set(why, -errno, "cannot open \"%s\": %s", path, strerror(errno));
	if (!err && format)
		err = format_region(file, path, name, why);
	if (!err)
		err = region_block_bytes(file, name, &block_bytes, why);
	if (!err)
		err = loop_attach(file, path, block_bytes, &loop, &device, why);
	if (!err)
		err = mount_device(&loop, name, directory, why);
	cleanup_fd(&device);
	cleanup_fd(&file);
	return err;
}

/* ---- Unmount ---- */

static bool is_region_loop(const char *path, dev_t device, struct loop_device *ret_loop)
{
	struct loop_device loops[8];
	size_t count = loop_find(path, loops, 8);

	for (size_t i = 0; i < count && i < 8; i++) {
		if (loops[i].device != device)
			continue;
		*ret_loop = loops[i];
		return true;
	}
	return false;
}

/* By the directory: its device must be a loop device on a file of the folder. */
static int find_by_directory(const char *folder, const char *directory,
			     struct mount_entry *ret_entry, char ret_path[PATH_MAX],
			     struct error *why)
{
	struct agent_request request;
	struct loop_device loop;
	struct stat status;
	char real[PATH_MAX];
	json_t *answer, *region;
	size_t index;
	int err;

	if (stat(directory, &status) || !realpath(directory, real))
		return error_set(why, -errno,
				 "\"%s\" is no region that is mounted, and no directory: %s",
				 directory, strerror(errno));
	agent_request_make(&request, AGENT_STATUS, NULL, NULL);
	err = agent_call_json(folder, &request, AGENT_LIMIT_MS, &answer, why);
	if (err)
		return err;
	err = -ENOENT;
	json_array_foreach(json_object_get(answer, "regions"), index, region)
	{
		const char *name = json_string_value(json_object_get(region, "name"));

		if (err && name && !path_of(folder, name, ret_path, NULL) &&
		    is_region_loop(ret_path, status.st_dev, &loop))
			err = mount_table_find(status.st_dev, ret_entry);
	}
	json_decref(answer);
	if (err || strcmp(real, ret_entry->path))
		return error_set(why, -ENOENT, "no region is mounted on \"%s\"", directory);
	return 0;
}

static bool find_by_name(const char *folder, const char *name, struct mount_entry *ret_entry,
			 char ret_path[PATH_MAX])
{
	struct loop_device loop;

	return !agent_check_name(name, NULL) && !path_of(folder, name, ret_path, NULL) &&
	       loop_find(ret_path, &loop, 1) && !mount_table_find(loop.device, ret_entry);
}

int region_unmount(const char *folder, const char *what, struct error *why)
{
	uint64_t end_ns = clock_now_ns() + DETACH_NS;
	struct mount_entry entry;
	struct loop_device loop;
	char path[PATH_MAX];
	int err = 0;

	if (!find_by_name(folder, what, &entry, path))
		err = find_by_directory(folder, what, &entry, path, why);
	if (err)
		return err;
	if (umount2(entry.path, UMOUNT_NOFOLLOW))
		return error_set(why, -errno, "cannot unmount \"%s\": %s%s", entry.path,
				 strerror(errno),
				 errno == EBUSY ? "; `fuser -vm` shows who uses it" : "");
	while (is_region_loop(path, entry.device, &loop)) {
		/* It is mounted in another place as well, or somebody has it open. */
		if (!mount_table_find(entry.device, &entry))
			return 0;
		if (clock_now_ns() >= end_ns)
			return error_set(why, -EBUSY,
					 "\"%s\" is unmounted, but somebody has /dev/loop%u open",
					 entry.path, loop.number);
		clock_sleep_ns(NAP_NS / 20);
	}
	return 0;
}
