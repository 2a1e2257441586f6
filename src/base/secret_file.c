/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int secret_file_open(const char *path, const char *kind, int *ret_fd, struct error *why)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;

	if (fd < 0 || fstat(fd, &status))
		return error_set(why, -errno, "cannot read %s \"%s\": %s", kind, path,
				 strerror(errno));
	if (!S_ISREG(status.st_mode))
		return error_set(why, -EINVAL, "%s \"%s\" is not a plain file", kind, path);
	if (status.st_mode & (S_IROTH | S_IWOTH))
		return error_set(why, -EPERM,
				 "%s \"%s\" is open to every user; use chmod 600", kind, path);
	*ret_fd = take_fd(&fd);
	return 0;
}
