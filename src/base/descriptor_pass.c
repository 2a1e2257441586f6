/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptor_pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int descriptor_send(int socket, const void *bytes, size_t byte_count, int fd, int flags)
{
	union control control = { .space = { 0 } };
	struct iovec part = { (void *)bytes, byte_count };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		message.msg_control = control.space;
		message.msg_controllen = sizeof(control.space);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(socket, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t descriptor_receive(int socket, void *bytes, size_t byte_count, int *ret_fd, int flags)
{
	union control control;
	struct iovec part = { bytes, byte_count };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.space,
				  /* Without what aligns it, in which another would fit. */
				  .msg_controllen = CMSG_LEN(sizeof(int)) };
	struct cmsghdr *header;
	ssize_t got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	if (got < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
	return got;
}
