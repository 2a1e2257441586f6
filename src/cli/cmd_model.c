/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/model_record.h"
#include "cli/model_report.h"
#include "cli/trace_file.h"
#include "model/model.h"

/* The controls first, the policy that was asked for last. */
static uint32_t choose_policies(enum model_policy asked, enum model_policy policies[MODEL_RUNS_MAX])
{
	static const enum model_policy controls[] = { MODEL_NONE, MODEL_NEXT };
	uint32_t count = 0;

	for (uint32_t i = 0; i < 2; i++)
		if (controls[i] != asked)
			policies[count++] = controls[i];
	policies[count++] = asked;
	return count;
}

static int run_all(struct model_report *report, struct error *why)
{
	struct model_config config = report->options->config;
	enum model_policy policies[MODEL_RUNS_MAX];
	int ret = 0;

	report->run_count = choose_policies(config.policy, policies);
	for (uint32_t i = 0; i < report->run_count && !ret; i++) {
		config.policy = report->runs[i].policy = policies[i];
		ret = model_run(&config, report->trace, report->tables, &report->runs[i].counts,
				why);
	}
	return ret;
}

static int print(const struct model_report *report)
{
	if (report->options->json)
		return model_report_print_json(report);
	model_report_print_table(report);
	return 0;
}

/* The whole trace is read and checked before anything is counted. */
static int run_on(const struct model_options *options, const struct trace *trace, struct error *why)
{
	struct model_report report = { .options = options, .trace = trace };
	struct tables tables;
	struct error inner;
	int ret = tables_create(&tables, trace, &inner);

	if (ret < 0)
		return error_set(why, ret, "\"%s\": %s", options->trace_path, inner.text);
	report.tables = &tables;
	ret = run_all(&report, why);
	if (!ret && (print(&report) < 0 || fflush(stdout) != 0))
		ret = error_set(why, -EIO, "cannot write the result");
	tables_destroy(&tables);
	return ret;
}

int cmd_model(int argc, char **argv)
{
	struct model_options options;
	struct trace trace;
	struct error why;
	bool help;
	int ret;

	if (argc > 1 && strcmp(argv[1], "record") == 0)
		return model_record(argc - 1, argv + 1);
	if (model_options_read(argc, argv, &options, &help, &why) < 0) {
		fprintf(stderr, "perdure model: %s\n", why.text);
		return EXIT_USAGE;
	}
	if (help) {
		model_options_print_help();
		return EXIT_DONE;
	}
	ret = trace_file_map(options.trace_path, &trace, &why);
	if (!ret) {
		ret = run_on(&options, &trace, &why);
		trace_file_unmap(&trace);
	}
	if (ret < 0)
		fprintf(stderr, "perdure model: %s\n", why.text);
	return ret < 0 ? EXIT_FAILED : EXIT_DONE;
}
