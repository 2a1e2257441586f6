/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/agent_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/descriptor_pass.h"

const char *agent_client_folder(void)
{
	const char *folder = getenv("PERDURE_FOLDER");

	return folder ? folder : AGENT_FOLDER;
}

int agent_client_connect(const char *folder, int *ret_socket, struct error *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder,
		     AGENT_SOCKET_NAME) >= (int)sizeof(address.sun_path))
		return error_set(why, -ENAMETOOLONG, "\"%s\" is too long for a socket's path",
				 folder);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return error_set(why, -errno, "no agent at \"%s\": %s; `perdure serve` is one",
				 address.sun_path, strerror(errno));
	*ret_socket = take_fd(&fd);
	return 0;
}

int agent_client_call(const char *folder, int socket, const struct agent_request *request, int fd,
		      int limit_ms, struct agent_answer *ret_answer, int *ret_fd, struct error *why)
{
	struct pollfd wait = { .fd = socket, .events = POLLIN };
	int passed = -1, err = descriptor_send(socket, request, sizeof(*request), fd, 0);
	ssize_t bytes;

	if (ret_fd)
		*ret_fd = -1;
	if (err)
		return error_set(why, err, "the agent of \"%s\": %s", folder, strerror(-err));
	if (poll(&wait, 1, limit_ms) == 0)
		return error_set(why, -ETIMEDOUT, "the agent of \"%s\" does not answer", folder);
	bytes = descriptor_receive(socket, ret_answer, sizeof(*ret_answer), &passed, 0);
	CLEANUP_FD int answered = passed;
	if (bytes != sizeof(*ret_answer) || ret_answer->version != AGENT_VERSION)
		return error_set(why, -EPROTO, "the agent of \"%s\" %s", folder,
				 bytes <= 0 ? "has ended" : "is of another version");
	if (ret_answer->result)
		return error_set(why, ret_answer->result, "%.*s", ERROR_TEXT_BYTES - 1,
				 ret_answer->text);
	if (ret_fd)
		*ret_fd = take_fd(&answered);
	return 0;
}
