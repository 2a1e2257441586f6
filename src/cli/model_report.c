/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/model_report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/run_json.h"
#include "cli/text.h"
#include "memory/line_map.h"

#define NAME_COLUMNS 34
#define VALUE_COLUMNS 14
#define VALUE_BYTES 24

enum form { FORM_COUNT, FORM_BYTES, FORM_TIME };

struct field {
	const char *name; /* in JSON; in the table with spaces */
	size_t offset;
	enum form form;
	bool in_table;
};

#define FIELD(name, form, in_table)                                                                \
	{                                                                                          \
#name, offsetof(struct model_counts, name), form, in_table                         \
	}

static const struct field fields[] = {
	FIELD(time_ns, FORM_TIME, true),
	FIELD(wait_ns, FORM_TIME, true),
	FIELD(demand_misses, FORM_COUNT, true),
	FIELD(faults, FORM_COUNT, true),
	FIELD(prefetches, FORM_COUNT, true),
	FIELD(prefetches_used, FORM_COUNT, true),
	FIELD(prefetches_late, FORM_COUNT, true),
	FIELD(prefetches_wasted, FORM_COUNT, true),
	FIELD(fetches_started, FORM_COUNT, false),
	FIELD(fetches_stored, FORM_COUNT, false),
	FIELD(fetches_expired, FORM_COUNT, true),
	FIELD(fetches_cut, FORM_COUNT, false),
	FIELD(arrivals_dropped, FORM_COUNT, false),
	FIELD(bus_timeouts, FORM_COUNT, true),
	FIELD(bytes_fetched, FORM_BYTES, true),
	FIELD(evictions, FORM_COUNT, true),
	FIELD(first_touches, FORM_COUNT, false),
	FIELD(stale_lines, FORM_COUNT, false),
	FIELD(accesses, FORM_COUNT, false),
	FIELD(private_hits, FORM_COUNT, false),
	FIELD(shared_hits, FORM_COUNT, false),
	FIELD(silent_stores, FORM_COUNT, false),
	FIELD(tlb_misses, FORM_COUNT, false),
	FIELD(bus_reads, FORM_COUNT, false),
	FIELD(bus_upgrades, FORM_COUNT, false),
	FIELD(bus_write_backs, FORM_COUNT, false),
	FIELD(table_line_reads, FORM_COUNT, true),
	FIELD(table_line_reads_elsewhere, FORM_COUNT, false),
	FIELD(lines_set, FORM_COUNT, false),
	FIELD(lines_repeated, FORM_COUNT, false),
	FIELD(lines_missed, FORM_COUNT, false),
	FIELD(lines_back, FORM_COUNT, false),
	FIELD(pages_back, FORM_COUNT, false),
	FIELD(scans, FORM_COUNT, false),
};

static uint64_t value_of(const struct model_counts *counts, const struct field *field)
{
	uint64_t value;

	memcpy(&value, (const char *)counts + field->offset, sizeof(value));
	return value;
}

static const char *value_text(uint64_t value, enum form form, char text[static TEXT_AMOUNT_BYTES])
{
	if (form == FORM_TIME)
		return text_time_ns(value, text);
	return form == FORM_BYTES ? text_bytes(value, text) : text_count(value, text);
}

/* The name of a count as words: underscores are spaces, and times lose their unit. */
static void print_name(const char *name)
{
	size_t length = strlen(name), column;

	if (length > 3 && strcmp(name + length - 3, "_ns") == 0)
		length -= 3;
	for (column = 0; column < length; column++)
		putchar(name[column] == '_' ? ' ' : name[column]);
	for (; column < NAME_COLUMNS; column++)
		putchar(' ');
}

static void print_counts(const struct model_report *report, const struct field *field)
{
	char text[TEXT_AMOUNT_BYTES];

	print_name(field->name);
	for (uint32_t i = 0; i < report->run_count; i++)
		printf("%*s", VALUE_COLUMNS,
		       value_text(value_of(&report->runs[i].counts, field), field->form, text));
	putchar('\n');
}

static void print_share(const struct model_report *report, const char *name,
			double (*share)(const struct model_counts *counts))
{
	char text[VALUE_BYTES];

	print_name(name);
	for (uint32_t i = 0; i < report->run_count; i++) {
		const struct model_counts *counts = &report->runs[i].counts;

		snprintf(text, sizeof(text), "%.1f %%", 100 * share(counts));
		printf("%*s", VALUE_COLUMNS, counts->prefetches ? text : "-");
	}
	putchar('\n');
}

static void print_runs(const struct model_report *report)
{
	char text[16];

	print_name("");
	for (uint32_t i = 0; i < report->run_count; i++)
		printf("%*s", VALUE_COLUMNS,
		       model_policy_name(report->runs[i].policy, report->options->config.next_pages,
					 text));
	putchar('\n');
	for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
		if (fields[i].in_table)
			print_counts(report, &fields[i]);
	print_share(report, "coverage", model_coverage);
	print_share(report, "accuracy", model_accuracy);
	print_share(report, "late", model_lateness);
}

static void print_tracking_row(const char *name, const struct model_tracking *tracking)
{
	char text[4][TEXT_AMOUNT_BYTES];

	print_name(name);
	printf("%*s%*s%*s%*s\n", VALUE_COLUMNS, text_count(tracking->fast_reads, text[0]),
	       VALUE_COLUMNS, text_count(tracking->fast_writes, text[1]), VALUE_COLUMNS,
	       text_count(tracking->slow_reads, text[2]), VALUE_COLUMNS,
	       text_count(tracking->slow_writes, text[3]));
}

static void print_tracking(const struct model_report *report)
{
	const struct model_counts *counts = &report->runs[report->run_count - 1].counts;
	uint64_t line_bytes = counts->lines_back * LINE_BYTES;
	uint64_t page_bytes = counts->pages_back * PAGE_BYTES;
	char lines[TEXT_AMOUNT_BYTES], pages[TEXT_AMOUNT_BYTES];

	printf("\nsent back at line grain %sB, at page grain %sB", text_bytes(line_bytes, lines),
	       text_bytes(page_bytes, pages));
	if (line_bytes)
		printf(": %.1f times as much", (double)page_bytes / (double)line_bytes);
	printf("\nlines that became modified %s, already known %s, missed %s\n\n",
	       text_count(counts->lines_set, lines), text_count(counts->lines_repeated, pages),
	       text_count(counts->lines_missed, (char[TEXT_AMOUNT_BYTES]){ 0 }));
	print_name("modified lines, kept in");
	printf("%*s%*s%*s%*s\n", VALUE_COLUMNS, "fast reads", VALUE_COLUMNS, "fast writes",
	       VALUE_COLUMNS, "slow reads", VALUE_COLUMNS, "slow writes");
	print_tracking_row("the line map, three levels", &counts->hierarchy);
	print_tracking_row("a flat bitmap, the control", &counts->flat);
}

static uint64_t local_bytes(const struct model_report *report)
{
	return PAGE_BYTES *
	       model_config_local_pages(&report->options->config, report->tables->touched_pages);
}

void model_report_print_table(const struct model_report *report)
{
	char references[TEXT_AMOUNT_BYTES], touched[TEXT_AMOUNT_BYTES], local[TEXT_AMOUNT_BYTES];

	printf("modelled: %s references to %sB, %sB of them local\n\n",
	       text_count(report->trace->reference_count, references),
	       text_bytes(report->tables->touched_pages * PAGE_BYTES, touched),
	       text_bytes(local_bytes(report), local));
	print_runs(report);
	print_tracking(report);
}

static json_t *integer(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *tracking_json(const struct model_tracking *tracking)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "fast_reads", integer(tracking->fast_reads),
			 "fast_writes", integer(tracking->fast_writes), "slow_reads",
			 integer(tracking->slow_reads), "slow_writes",
			 integer(tracking->slow_writes));
}

static json_t *run_json_of(const struct model_report *report, const struct model_run_report *run)
{
	const struct model_counts *counts = &run->counts;
	char text[16];
	json_t *json =
		json_pack("{s:s, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "policy",
			  model_policy_name(run->policy, report->options->config.next_pages, text),
			  "coverage", model_coverage(counts), "accuracy", model_accuracy(counts),
			  "lateness", model_lateness(counts), "bytes_back_lines",
			  integer(counts->lines_back * LINE_BYTES), "bytes_back_pages",
			  integer(counts->pages_back * PAGE_BYTES), "hierarchy",
			  tracking_json(&counts->hierarchy), "flat", tracking_json(&counts->flat));

	for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
		json_object_set_new(json, fields[i].name, integer(value_of(counts, &fields[i])));
	return json;
}

static json_t *machine_json(const struct model_report *report)
{
	const struct model_config *config = &report->options->config;
	uint64_t pages = tables_page_count(report->tables);

	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s}",
		"local_bytes", integer(local_bytes(report)), "timer_ns", integer(config->timer_ns),
		"bus_timeout_ns", integer(config->bus_timeout_ns), "link_latency_ns",
		integer(config->link_latency_ns), "link_bytes_per_s",
		integer(config->link_bytes_per_s), "scan_ns", integer(config->scan_ns), "cores",
		integer(config->core_count), "slice", integer(config->slice_references),
		"private_bytes", integer(config->private_bytes), "shared_bytes",
		integer(config->shared_bytes), "tlb_entries", integer(config->tlb_entries),
		"fast_bytes", integer(config->bitmap_bytes + line_map_summary_bytes(pages)),
		"slow_bytes", integer(line_map_lines_bytes(pages)), "frames",
		config->frames == MODEL_FRAMES_ORDERED ? "ordered" : "scattered", "tables",
		config->tables == MODEL_TABLES_IN_PROCESSOR ? "processor" : "device", "grant",
		config->grant == MODEL_GRANT_EXCLUSIVE ? "exclusive" : "shared");
}

static json_t *report_json(const struct model_report *report)
{
	json_t *runs = json_array();

	for (uint32_t i = 0; i < report->run_count; i++)
		json_array_append_new(runs, run_json_of(report, &report->runs[i]));
	return json_pack(
		"{s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "modelled", 1, "trace",
		run_json_text(report->options->trace_path, strlen(report->options->trace_path)),
		"references", integer(report->trace->reference_count), "touched_bytes",
		integer(report->tables->touched_pages * PAGE_BYTES), "seed",
		integer(report->options->config.seed), "machine", machine_json(report), "runs",
		runs);
}

int model_report_print_json(const struct model_report *report)
{
	json_t *json = report_json(report);
	int ret;

	if (!json)
		return -ENOMEM;
	ret = json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(json);
	return ret < 0 ? -EIO : 0;
}
