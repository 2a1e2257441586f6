/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writers that are not tracked. Tracked ones get the region's file from the agent; whoever opens it
 * by its name is heard by inotify, and from then on the region counts as a whole, until nobody but
 * tracked writers has it: open, mapped, or as the file of a loop device.
 */

#include "agent/agent_state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"

#define QUIET_NS 2000000000u /* after the last that was heard: longer than a look lasts */
#define EVENT_BYTES 4096

int agent_watch_file(struct agent *agent, struct agent_region *region, const char *path)
{
	region->watch = inotify_add_watch(agent->inotify_fd, path, IN_OPEN | IN_MODIFY);
	return region->watch < 0 ? -errno : 0;
}

static void note_foreign(struct agent_region *place)
{
	place->foreign_ns = clock_now_ns();
	region_set_foreign(place->region, REGION_FOREIGN);
}

static void hear_event(struct agent *agent, const struct inotify_event *event)
{
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		/* The queue ran over: anybody may have come. */
		if (agent->regions[i].region &&
		    (event->mask & IN_Q_OVERFLOW || agent->regions[i].watch == event->wd))
			note_foreign(&agent->regions[i]);
	}
}

void agent_hear_files(struct agent *agent)
{
	char events[EVENT_BYTES] __attribute__((aligned(8)));
	ssize_t bytes;

	while ((bytes = read(agent->inotify_fd, events, sizeof(events))) > 0) {
		for (ssize_t at = 0; at < bytes;) {
			const struct inotify_event *event = (const void *)(events + at);

			at += (ssize_t)(sizeof(*event) + event->len);
			hear_event(agent, event);
		}
	}
}

/* ---- Who has it ---- */

static bool maps_file(const struct region *region, pid_t pid, const struct stat *file)
{
	char path[64], line[PATH_MAX + 128], permissions[8];
	unsigned long start, end;
	unsigned major_number, minor_number;
	uint64_t inode;
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	while (maps && !found && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s %*x %x:%x %" SCNu64, &start, &end, permissions,
			   &major_number, &minor_number, &inode) != 6)
			continue;
		found = inode == file->st_ino &&
			makedev(major_number, minor_number) == file->st_dev &&
			permissions[3] == 's' && !watcher_knows(region->watched, pid, start, end);
	}
	if (maps)
		fclose(maps);
	return found;
}

/* A tracked writer has got the file as well: only what it maps beside that is foreign. */
static bool opened_file(const struct region *region, pid_t pid, const struct stat *file)
{
	char path[64];
	struct dirent *entry;
	bool found = false;
	DIR *folder;

	if (watcher_has(region->watched, pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	while (folder && !found && (entry = readdir(folder))) {
		struct stat status;

		found = !fstatat(dirfd(folder), entry->d_name, &status, 0) &&
			status.st_ino == file->st_ino && status.st_dev == file->st_dev;
	}
	if (folder)
		closedir(folder);
	return found;
}

/* Who is not tracked and has it, `max` of them at the most; returns how many that are. */
static uint32_t find_processes(const struct region *region, const struct stat *file,
			       pid_t *ret_pids, uint32_t max)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	uint32_t count = 0;

	while (folder && count < max && (entry = readdir(folder))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

		if (pid > 0 && pid != getpid() &&
		    (maps_file(region, pid, file) || opened_file(region, pid, file)))
			ret_pids[count++] = pid;
	}
	if (folder)
		closedir(folder);
	return count;
}

uint32_t agent_find_foreigners(const struct agent *agent, pid_t *ret_pids, uint32_t max)
{
	uint32_t count = 0;
	struct stat file;

	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		const struct agent_region *place = &agent->regions[i];

		if (place->region && place->region->foreign == REGION_FOREIGN &&
		    place->region->watched && !fstat(place->region->fd, &file))
			count += find_processes(place->region, &file, ret_pids + count,
						max - count);
	}
	return count;
}

/* The kernel's own: a loop device keeps a file open without a process. */
size_t agent_find_loops(const struct agent *agent, const struct region *region,
			struct loop_device *ret_devices, size_t max)
{
	char path[PATH_MAX];

	region_path(&agent->place, region->name, REGION_NAMED, path);
	return loop_find(path, ret_devices, max);
}

static void look(struct agent *agent, struct agent_region *place, uint64_t now_ns)
{
	struct region *region = place->region;
	struct stat file;
	pid_t pid;

	if (fstat(region->fd, &file))
		return;
	if (find_processes(region, &file, &pid, 1) || agent_find_loops(agent, region, NULL, 0)) {
		place->foreign_ns = now_ns;
		return;
	}
	if (now_ns - place->foreign_ns < QUIET_NS)
		return;
	/* What they wrote last is found by one more scan. */
	region_set_foreign(region, REGION_FOREIGN_GONE);
}

void agent_look_for_foreigners(struct agent *agent)
{
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		struct agent_region *place = &agent->regions[i];

		if (!place->region || !place->region->watched)
			continue;
		watcher_reap(place->region->watched);
		if (!watcher_is_exact(place->region->watched)) {
			/* First the one, then the other: the mover looks at both. */
			note_foreign(place);
			watcher_set_exact(place->region->watched);
		}
		if (place->region->foreign == REGION_FOREIGN)
			look(agent, place, clock_now_ns());
	}
}
