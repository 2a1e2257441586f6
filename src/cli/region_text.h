/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_REGION_TEXT_H
#define CLI_REGION_TEXT_H

#include <jansson.h>

/* The regions of an agent's status (AGENT_STATUS) as a table, one a line, on standard output. */
void region_text_print(const json_t *regions);

#endif
