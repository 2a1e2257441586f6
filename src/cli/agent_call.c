/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/agent_call.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/descriptor_pass.h"

const char *agent_folder(void)
{
	const char *folder = getenv("PERDURE_FOLDER");

	return folder ? folder : AGENT_FOLDER;
}

int agent_request_make(struct agent_request *ret_request, enum agent_verb verb, const char *name,
		       struct error *why)
{
	int err = name ? agent_check_name(name, why) : 0;

	if (err)
		return err;
	*ret_request =
		(struct agent_request){ .version = AGENT_VERSION, .verb = verb, .owner = -1 };
	if (name)
		strcpy(ret_request->name, name);
	return 0;
}

static int connect_to(const char *folder, int *ret_fd, struct error *why)
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
	*ret_fd = take_fd(&fd);
	return 0;
}

bool agent_is_there(const char *folder)
{
	int fd;

	if (connect_to(folder, &fd, NULL))
		return false;
	close(fd);
	return true;
}

int agent_call(const char *folder, const struct agent_request *request, int limit_ms,
	       struct agent_answer *ret_answer, int *ret_fd, struct error *why)
{
	struct pollfd wait = { .events = POLLIN };
	int passed = -1, err = connect_to(folder, &wait.fd, why);
	CLEANUP_FD int fd = err ? -1 : wait.fd;
	ssize_t bytes;

	if (err)
		return err;
	err = descriptor_send(fd, request, sizeof(*request), -1, 0);
	if (err)
		return error_set(why, err, "the agent of \"%s\": %s", folder, strerror(-err));
	if (poll(&wait, 1, limit_ms) == 0)
		return error_set(why, -ETIMEDOUT, "the agent of \"%s\" does not answer", folder);
	bytes = descriptor_receive(fd, ret_answer, sizeof(*ret_answer), &passed, 0);
	CLEANUP_FD int answered = passed;
	if (bytes != sizeof(*ret_answer) || ret_answer->version != AGENT_VERSION)
		return error_set(why, -EPROTO, "the agent of \"%s\" %s", folder,
				 bytes <= 0 ? "has ended" : "is of another version");
	ret_answer->text[sizeof(ret_answer->text) - 1] = '\0';
	if (ret_answer->result)
		return error_set(why, ret_answer->result, "%s", ret_answer->text);
	if (ret_fd)
		*ret_fd = take_fd(&answered);
	return 0;
}

int agent_call_json(const char *folder, const struct agent_request *request, int limit_ms,
		    json_t **ret_object, struct error *why)
{
	struct agent_answer answer;
	json_error_t error;
	int passed, err = agent_call(folder, request, limit_ms, &answer, &passed, why);

	if (err)
		return err;
	CLEANUP_FD int fd = passed;
	*ret_object = json_loadfd(fd, 0, &error);
	if (!*ret_object)
		return error_set(why, -EPROTO, "the agent of \"%s\" answers nonsense: %s", folder,
				 error.text);
	return 0;
}
