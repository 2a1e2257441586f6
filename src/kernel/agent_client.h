/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_AGENT_CLIENT_H
#define KERNEL_AGENT_CLIENT_H

/*
 * Talking to the agent (format/agent.h): for the library and for the commands. No allocation; any
 * thread. In words.
 */

#include "base/error.h"
#include "format/agent.h"

/* The folder of the host's agent: PERDURE_FOLDER of the environment, or the usual one. */
const char *agent_client_folder(void);

int agent_client_connect(const char *folder, int *ret_socket, struct error *why);

/*
 * One request and its answer, which is waited for `limit_ms`; -1: as long as it takes. `fd` goes
 * along, -1: none. *ret_fd is what comes back, the caller's to close, or -1; NULL drops it. The
 * words name `folder`. -EPROTO: the agent is gone, or of another version; or what it answered.
 */
int agent_client_call(const char *folder, int socket, const struct agent_request *request, int fd,
		      int limit_ms, struct agent_answer *ret_answer, int *ret_fd,
		      struct error *why);

#endif
