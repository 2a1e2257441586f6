/* SPDX-License-Identifier: Apache-2.0 */
#include "format/agent.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int agent_check_name(const char *name, struct error *why)
{
	size_t length = strnlen(name, AGENT_NAME_BYTES);

	if (length == 0)
		return error_set(why, -EINVAL, "a region's name must not be empty");
	if (length == AGENT_NAME_BYTES)
		return error_set(why, -EINVAL,
				 "\"%.20s...\" is too long for a region's name: "
				 "63 characters are the most",
				 name);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c >= 0x80 || !(isalnum(c) || c == '_' || c == '-' || (c == '.' && i > 0)))
			return error_set(why, -EINVAL,
					 "\"%s\" is no name for a region: letters, digits, \"_\", "
					 "\"-\" and, not first, \".\"",
					 name);
	}
	if (!strcmp(name, AGENT_SOCKET_NAME))
		return error_set(why, -EINVAL, "\"%s\" is the agent's own", name);
	return 0;
}
