/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MODEL_REPORT_H
#define CLI_MODEL_REPORT_H

/* What runs of the model came to, as a table for people and as JSON (perdure-model(1)). */

#include <stdint.h>

#include "format/trace.h"
#include "model/counts.h"
#include "model/tables.h"

#include "cli/model_options.h"

#define MODEL_RUNS_MAX 3 /* the policy that was asked for, and the two controls */

struct model_run_report {
	enum model_policy policy;
	struct model_counts counts;
};

struct model_report {
	const struct model_options *options;
	const struct trace *trace;
	const struct tables *tables;
	uint32_t run_count;
	struct model_run_report runs[MODEL_RUNS_MAX]; /* the one that was asked for last */
};

void model_report_print_table(const struct model_report *report);

/* -ENOMEM, or -EIO when it could not be written. */
int model_report_print_json(const struct model_report *report);

#endif
