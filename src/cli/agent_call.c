/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/agent_call.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kernel/agent_client.h"

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

bool agent_is_there(const char *folder)
{
	int fd;

	if (agent_client_connect(folder, &fd, NULL))
		return false;
	close(fd);
	return true;
}

int agent_call(const char *folder, const struct agent_request *request, int limit_ms,
	       struct agent_answer *ret_answer, int *ret_fd, struct error *why)
{
	int connected = -1, err = agent_client_connect(folder, &connected, why);
	CLEANUP_FD int fd = connected;

	return err ? err
		   : agent_client_call(folder, fd, request, -1, limit_ms, ret_answer, ret_fd, why);
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

uint64_t agent_number(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

const char *agent_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "-";
}
