/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_JSON_H
#define CLI_RUN_JSON_H

/*
 * A run segment as JSON: the part that the report and `perdure status --json` have in common. The
 * names are described in perdure-report(5). Whatever the segment holds, the result is valid JSON.
 */

#include <jansson.h>

#include "format/run_segment.h"

/*
 * Up to `bytes` bytes of `text`, to the first NUL, as a JSON string; bytes that are no printable
 * UTF-8 become question marks.
 */
json_t *run_json_text(const char *text, size_t bytes);

/* A new object with the run's limits, sums and backings; NULL without memory. */
json_t *run_json(const struct run_segment *segment);

/* One process of the run as a new object; NULL without memory. */
json_t *run_json_member(const struct run_member *member);

/* The living processes as a new array. */
json_t *run_json_members(const struct run_segment *segment);

#endif
