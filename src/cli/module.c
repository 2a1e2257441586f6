/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/module.h"

#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define PRELOAD_NAME "libperdure-preload.so"
#define FABRIC_NAME "perdure-fabric-ofi.so"

enum place {
	PLACE_BUILD_TREE,
	PLACE_BESIDE,	  /* the library folder that belongs to where the binary lies */
	PLACE_CONFIGURED, /* the one that the build was told */
};

static bool is_trusted(void)
{
	return getauxval(AT_SECURE) == 0;
}

/* The folder as it may be written, with "..". False when this binary is not to look there. */
static bool place_folder(enum place place, char ret_folder[static PATH_MAX])
{
	char binary[PATH_MAX];
	ssize_t length;

	if (place == PLACE_CONFIGURED)
		return snprintf(ret_folder, PATH_MAX, "%s", MODULE_DIR) < PATH_MAX;
	length = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
	if (!is_trusted() || length <= 0)
		return false;
	binary[length] = '\0';
	return snprintf(ret_folder, PATH_MAX, "%s/%s", dirname(binary),
			place == PLACE_BUILD_TREE ? "../preload" : MODULE_DIR_FROM_BINARY) <
	       PATH_MAX;
}

static bool find_in(const char *folder, const char *name, char ret_path[static PATH_MAX])
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_MAX)
		return false;
	return realpath(path, ret_path) && access(ret_path, R_OK) == 0;
}

/* The dynamic loader splits LD_PRELOAD at these, and has no way to quote them. */
static int refuse_separators(const char *path, struct error *why)
{
	if (strpbrk(path, " :"))
		return error_set(why, -ENOENT, "\"%s\" has a space or a colon in its path, which "
				 "LD_PRELOAD cannot carry; install perdure elsewhere", path);
	return 0;
}

int module_find_preload(char ret_path[static PATH_MAX], struct error *why)
{
	const char *named = secure_getenv("PERDURE_MODULE_DIR");
	char folder[PATH_MAX];
	enum place place;

	for (place = PLACE_BUILD_TREE; !named && place <= PLACE_CONFIGURED; place++)
		if (place_folder(place, folder) && find_in(folder, PRELOAD_NAME, ret_path))
			return refuse_separators(ret_path, why);
	if (!named)
		return error_set(why, -ENOENT, PRELOAD_NAME " is neither beside this binary nor in "
				 MODULE_DIR "; set PERDURE_MODULE_DIR to its folder");
	if (find_in(named, PRELOAD_NAME, ret_path))
		return refuse_separators(ret_path, why);
	return error_set(why, -ENOENT, "PERDURE_MODULE_DIR is \"%s\", and " PRELOAD_NAME
			 " is not there", named);
}

void module_announce(void)
{
	char folder[PATH_MAX], path[PATH_MAX];
	enum place place;

	if (!is_trusted())
		unsetenv("PERDURE_MODULE_DIR");
	if (getenv("PERDURE_MODULE_DIR"))
		return;
	/* A build tree keeps each module in a folder of its own; the loaders know that. */
	if (place_folder(PLACE_BUILD_TREE, folder) && find_in(folder, PRELOAD_NAME, path))
		return;
	for (place = PLACE_BESIDE; place <= PLACE_CONFIGURED; place++) {
		if (!place_folder(place, folder) || !find_in(folder, FABRIC_NAME, path))
			continue;
		setenv("PERDURE_MODULE_DIR", dirname(path), 1);
		return;
	}
}
