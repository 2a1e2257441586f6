/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_check.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing/backing.h"
#include "base/bytes.h"
#include "base/cleanup.h"

#define PROBE_BYTES (16 * MIB) /* one extent: what the program will ask for first */

/*
 * A capability that came from this file's own would end at the exec of the program; made ambient,
 * it stays. Failing is no error here: the probe below tells in words what is missing.
 */
static void keep_ptrace_capability(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint32_t bit = CAP_TO_MASK(CAP_SYS_PTRACE);

	if (syscall(SYS_capget, &header, data) < 0 || !(data[0].permitted & bit) || getuid() == 0)
		return;
	data[0].inheritable |= bit;
	data[0].effective |= bit;
	if (syscall(SYS_capset, &header, data) == 0)
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_PTRACE, 0, 0);
}

int run_check_kernel(struct error *why)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK };
	CLEANUP_FD int fd = -1;

	keep_ptrace_capability();
	/* No flags: faults of system calls are to be served as well. */
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOSYS)
		return error_set(why, -ENOSYS, "this kernel has no userfaultfd; a kernel with "
				 "CONFIG_USERFAULTFD is needed");
	if (fd < 0 && errno != EPERM)
		return error_set(why, -errno, "userfaultfd: %s", strerror(errno));
	/* The sysctl vm.unprivileged_userfaultfd passes the first test and not this one. */
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return error_set(
			why, -EPERM,
			"no permission to serve faults (userfaultfd with fork "
			"events): run as root, or as root once `setcap cap_sys_ptrace=ep` on "
			"this binary; in a container, allow the userfaultfd system call too");
	return 0;
}

static int probe(const char *uri, const struct run_options *options, struct error *why)
{
	const struct backing_options backing_options = {
		.key_file = options->key_file,
		/* A busy host takes seconds to start a session's worker; a person waits for it. */
		.wait_ms_max = options->timeout_ms < RUN_TIMEOUT_MS_ALONE ? options->timeout_ms :
									    RUN_TIMEOUT_MS_ALONE,
	};
	struct backing *backing;
	int rc = backing_open(uri, &backing_options, &backing, why);

	if (rc < 0)
		return rc;
	rc = backing->ops->reserve(backing, PROBE_BYTES / PAGE_BYTES, why);
	backing_close(backing);
	return rc;
}

int run_check_backings(const struct run_options *options, struct error *why)
{
	struct error inner = { "" };
	uint32_t i;
	int rc;

	for (i = 0; i < options->far_count; i++) {
		rc = probe(options->far[i], options, &inner);
		if (rc == 0)
			continue;
		if (strstr(inner.text, options->far[i]))
			return error_set(why, rc, "%s", inner.text);
		return error_set(why, rc, "--far %s: %s", options->far[i], inner.text);
	}
	return 0;
}

int run_check_report(const char *path, struct error *why)
{
	char folder[PATH_MAX];
	struct stat st;
	CLEANUP_FD int fd = -1;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return error_set(why, -EISDIR, "cannot write the report \"%s\": it is a directory",
				 path);
	/* Not a file: the report is appended to it, and its folder does not matter. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		if (access(path, W_OK) == 0)
			return 0;
		return error_set(why, -errno, "cannot write the report \"%s\": %s", path,
				 strerror(errno));
	}
	if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
		return error_set(why, -ENAMETOOLONG, "the report's path is too long");
	/* A nameless file tests what access() cannot: a full or read-only file system. */
	fd = open(dirname(folder), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		return 0;
	if (errno == EOPNOTSUPP && access(folder, W_OK | X_OK) == 0)
		return 0;
	return error_set(why, -errno, "cannot write the report \"%s\": its folder \"%s\": %s", path,
			 folder, strerror(errno));
}
