/* SPDX-License-Identifier: Apache-2.0 */
#include "node/task.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/descriptor_pass.h"

int task_send(int socket, const struct task *task, int fd)
{
	return descriptor_send(socket, task, sizeof(*task), fd, MSG_DONTWAIT);
}

int task_receive(int socket, struct task *ret_task, int *ret_fd)
{
	ssize_t bytes = descriptor_receive(socket, ret_task, sizeof(*ret_task), ret_fd,
					   MSG_DONTWAIT);

	if (bytes == sizeof(*ret_task))
		return 0;
	if (*ret_fd >= 0)
		close(*ret_fd);
	*ret_fd = -1;
	if (bytes < 0)
		return bytes == -ECONNRESET ? -EPIPE : (int)bytes;
	return bytes == 0 ? -EPIPE : -EPROTO;
}
