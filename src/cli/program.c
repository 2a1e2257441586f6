/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/elf.h"

#define SCRIPT_DEPTH_MAX 5   /* the kernel's own limit of "#!" lines that lead to one another */
#define SCRIPT_LINE_BYTES 256 /* the kernel reads no more of one */

static bool is_executable_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Says why a command that was named with its path, or found nowhere in PATH, cannot be run. */
static int refuse_path(const char *path, struct error *why)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		int code = errno == ENOENT || errno == ENOTDIR ? -ENOENT : -EACCES;

		return error_set(why, code, "cannot run \"%s\": %s", path, strerror(errno));
	}
	if (!S_ISREG(st.st_mode))
		return error_set(why, -EACCES, "cannot run \"%s\": it is no regular file", path);
	return error_set(why, -EACCES, "cannot run \"%s\": it is not executable; chmod +x it",
			 path);
}

static int search_path(const char *command, char *ret_path, struct error *why)
{
	const char *from = getenv("PATH");
	bool seen = false;
	size_t length;

	if (!from)
		from = "/usr/local/bin:/usr/bin:/bin";
	for (;; from += length + 1) {
		length = strcspn(from, ":");
		/* An empty entry is the current directory. */
		if (snprintf(ret_path, PATH_MAX, "%.*s/%s", length ? (int)length : 1,
			     length ? from : ".", command) < PATH_MAX) {
			if (is_executable_file(ret_path))
				return 0;
			seen = seen || access(ret_path, F_OK) == 0;
		}
		if (!from[length])
			break;
	}
	if (seen)
		return error_set(why, -EACCES, "\"%s\" is in PATH but not executable", command);
	return error_set(why, -ENOENT,
			 "\"%s\" is not in PATH; give its path, or check the spelling", command);
}

/* Set-id bits that change nothing for this user are harmless: the kernel does not heed them. */
static int refuse_privileged(int fd, const char *path, struct error *why)
{
	struct stat st;
	bool gains_user, gains_group, gains_caps;

	if (fstat(fd, &st) < 0)
		return error_set(why, -errno, "cannot examine \"%s\": %s", path, strerror(errno));
	gains_user = (st.st_mode & S_ISUID) && st.st_uid != geteuid();
	gains_group = (st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getegid();
	gains_caps = getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
	if (gains_user || gains_group)
		return error_set(why, -EPERM,
				 "\"%s\" is set%s: the kernel drops preloaded libraries "
				 "there; run it as its owner, or a copy without that bit",
				 path, gains_user ? "uid" : "gid");
	if (gains_caps)
		return error_set(
			why, -EPERM,
			"\"%s\" has file capabilities: the kernel drops "
			"preloaded libraries there; run it as root, or a copy without them",
			path);
	return 0;
}

static int refuse_unmanageable(int fd, const char *path, struct error *why)
{
	struct elf_facts facts;
	int rc = elf_inspect(fd, &facts);

	if (rc == -ENOEXEC)
		return error_set(why, rc, "\"%s\" is no executable that this host can load", path);
	if (rc < 0)
		return error_set(why, rc, "cannot read \"%s\": %s", path, strerror(-rc));
	if (!facts.native || !facts.executable)
		return error_set(why, -ENOEXEC,
				 "\"%s\" is a %d-bit executable for machine %d; perdure "
				 "manages programs of its own kind: take this host's 64-bit build",
				 path, facts.class_bits, facts.machine);
	if (!facts.has_interpreter)
		return error_set(why, -ENOTSUP,
				 "\"%s\" is statically linked and cannot be managed; "
				 "link it dynamically, or run it without perdure",
				 path);
	return refuse_privileged(fd, path, why);
}

/* The interpreter in a "#!" line. 0, or -ENOEXEC when `line` is none that the kernel takes. */
static int script_interpreter(char *line, const char **ret_path)
{
	char *start = line + 2 + strspn(line + 2, " \t");

	start[strcspn(start, " \t\n")] = '\0';
	if (!*start)
		return -ENOEXEC;
	*ret_path = start;
	return 0;
}

/* Follows `path` through its "#!" lines; a file with neither that nor an ELF header is sh's. */
static int check_loaded(const char *path, struct error *why)
{
	char line[SCRIPT_LINE_BYTES + 1], current[PATH_MAX];
	const char *next = path;
	ssize_t length;
	int depth;

	for (depth = 0; depth <= SCRIPT_DEPTH_MAX; depth++) {
		snprintf(current, sizeof(current), "%s", next);
		CLEANUP_FD int fd = open(current, O_RDONLY | O_CLOEXEC);

		if (fd < 0 && errno == EACCES)
			return 0; /* executable but unreadable: nothing can be said of it */
		if (fd < 0)
			return error_set(why, -errno,
					 "cannot run \"%s\": its interpreter \"%s\": %s", path,
					 current, strerror(errno));
		length = pread(fd, line, SCRIPT_LINE_BYTES, 0);
		if (length < 0)
			return error_set(why, -errno, "cannot read \"%s\": %s", current,
					 strerror(errno));
		line[length] = '\0';
		if (length >= 4 && memcmp(line, "\177ELF", 4) == 0)
			return refuse_unmanageable(fd, current, why);
		if (length < 2 || memcmp(line, "#!", 2) != 0)
			next = "/bin/sh";
		else if (script_interpreter(line, &next) < 0)
			break;
	}
	return error_set(why, -ENOEXEC, "\"%s\" names no interpreter that can be run", path);
}

int program_find(const char *command, char ret_path[static PATH_MAX], struct error *why)
{
	int rc = 0;

	if (!*command)
		return error_set(why, -ENOENT, "the command is empty; name a program");
	if (!strchr(command, '/')) {
		rc = search_path(command, ret_path, why);
	} else if (snprintf(ret_path, PATH_MAX, "%s", command) >= PATH_MAX) {
		return error_set(why, -ENOENT, "the command's path is longer than %d bytes",
				 PATH_MAX - 1);
	} else if (!is_executable_file(ret_path)) {
		rc = refuse_path(ret_path, why);
	}
	return rc < 0 ? rc : check_loaded(ret_path, why);
}
