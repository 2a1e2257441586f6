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

static bool find_in(const char *folder, const char *below, char *ret_path)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s%s", folder, below, PRELOAD_NAME) >= PATH_MAX)
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
	bool trusted = getauxval(AT_SECURE) == 0;
	char binary[PATH_MAX];
	ssize_t length;

	if (named) {
		if (find_in(named, "", ret_path))
			return refuse_separators(ret_path, why);
		return error_set(why, -ENOENT, "PERDURE_MODULE_DIR is \"%s\", and " PRELOAD_NAME
				 " is not there", named);
	}
	length = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
	if (trusted && length > 0) {
		binary[length] = '\0';
		dirname(binary);
		if (find_in(binary, "../preload/", ret_path) ||
		    find_in(binary, MODULE_DIR_FROM_BINARY "/", ret_path))
			return refuse_separators(ret_path, why);
	}
	if (find_in(MODULE_DIR, "", ret_path))
		return refuse_separators(ret_path, why);
	return error_set(why, -ENOENT, PRELOAD_NAME " is neither beside this binary nor in " MODULE_DIR
			 "; set PERDURE_MODULE_DIR to its folder");
}
