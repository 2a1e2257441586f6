/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_AGENT_CALL_H
#define CLI_AGENT_CALL_H

/*
 * One request to the agent (format/agent.h) and its answer. In words when no agent is there, or its
 * answer is no success.
 */

#include <jansson.h>
#include <stdbool.h>

#include "format/agent.h"

#define AGENT_LIMIT_MS 10000 /* the agent's main thread answers at once, but for a busy host */

/* Fills in what every request has. -EINVAL in words for a name that is none; NULL: no name. */
int agent_request_make(struct agent_request *ret_request, enum agent_verb verb, const char *name,
		       struct error *why);

/*
 * `folder` is the regions'. `limit_ms` -1: waits for the answer as long as it takes. *ret_fd, if
 * not NULL, is what came along or -1, the caller's to close.
 */
int agent_call(const char *folder, const struct agent_request *request, int limit_ms,
	       struct agent_answer *ret_answer, int *ret_fd, struct error *why);

/* The same for an answer in JSON, which is the caller's to give back. */
int agent_call_json(const char *folder, const struct agent_request *request, int limit_ms,
		    json_t **ret_object, struct error *why);

/* A member of what the agent answered: 0, or "-", where there is none. */
uint64_t agent_number(const json_t *object, const char *name);
const char *agent_text(const json_t *object, const char *name);

/* Whether somebody listens there. */
bool agent_is_there(const char *folder);

#endif
