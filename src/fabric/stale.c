/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/fabric.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The PID in a name of ours, or 0. */
static pid_t owner_of(const char *name)
{
	char *end;
	long pid;

	if (strncmp(name, FABRIC_SHM_PREFIX, strlen(FABRIC_SHM_PREFIX)))
		return 0;
	pid = strtol(name + strlen(FABRIC_SHM_PREFIX), &end, 10);
	return *end == '-' && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

static bool is_gone(pid_t pid)
{
	return kill(pid, 0) && errno == ESRCH;
}

static int clean(pid_t also)
{
	DIR *folder = opendir(FABRIC_SHM_DIR);
	struct dirent *entry;
	int removed = 0;

	if (!folder)
		return 0;
	while ((entry = readdir(folder))) {
		pid_t owner = owner_of(entry->d_name);

		if (owner && (owner == also || is_gone(owner)) &&
		    !unlinkat(dirfd(folder), entry->d_name, 0))
			removed++;
	}
	closedir(folder);
	return removed;
}

int fabric_clean_stale(void)
{
	return clean(0);
}

int fabric_clean_own(void)
{
	return clean(getpid());
}
