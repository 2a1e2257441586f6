/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define LINE_SHIFT 6

int model_create(struct model *ret_model, const struct model_config *config,
		 const struct tables *tables)
{
	struct model *model = ret_model;

	*model = (struct model){ .config = *config };
	model->bus = (struct interconnect){ .config = &model->config,
					    .device = &model->device,
					    .processor = &model->processor };
	if (device_create(&model->device, &model->bus, tables) < 0 ||
	    processor_create(&model->processor, &model->bus, tables, model->device.frame_of) < 0) {
		model_destroy(model);
		return -ENOMEM;
	}
	return 0;
}

void model_destroy(struct model *model)
{
	device_destroy(&model->device);
	processor_destroy(&model->processor);
}

/* `line` is virtual: the address without its last bits. */
static inline void access_line(struct model *model, uint32_t core, uint64_t line, bool store)
{
	uint64_t physical;

	model->bus.counts.accesses++;
	do {
		uint64_t frame = processor_translate(&model->processor, core,
						     line >> (PAGE_SHIFT - LINE_SHIFT));

		physical = frame * BUS_PAGE_LINES + line % BUS_PAGE_LINES;
	} while (!processor_access(&model->processor, core, physical, store));
	if (store)
		model->device.newest[physical] = ++model->stores;
}

void model_refer(struct model *model, uint32_t core, struct trace_reference reference)
{
	uint64_t line = reference.address >> LINE_SHIFT;
	uint64_t last = (reference.address + reference.bytes - 1) >> LINE_SHIFT;

	model->bus.counts.references++;
	model->bus.now_ns += MODEL_REFERENCE_NS;
	for (; line <= last; line++) {
		if (reference.kind != TRACE_STORE)
			access_line(model, core, line, false);
		if (reference.kind != TRACE_LOAD)
			access_line(model, core, line, true);
	}
}

static void refer_all(struct model *model, const struct trace_reference *references, uint32_t count)
{
	uint32_t slice = model->config.slice_references, cores = model->config.core_count;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t number = model->bus.counts.references;
		uint32_t core = cores == 1 ? 0 : (uint32_t)(number / slice % cores);

		model_refer(model, core, references[i]);
	}
}

static int run(struct model *model, const struct trace *trace, struct error *why)
{
	CLEANUP_FREE struct trace_reference *references =
		malloc(TRACE_BLOCK_REFERENCES_MAX * sizeof(*references));
	struct trace_reader reader;
	uint32_t count;
	int ret;

	if (!references)
		return error_set(why, -ENOMEM, "no memory for a block of the trace");
	trace_reader_init(&reader, trace);
	do {
		ret = trace_reader_next(&reader, references, &count, why);
		if (ret < 0)
			return ret;
		refer_all(model, references, count);
	} while (count);
	device_finish(&model->device);
	return 0;
}

int model_run(const struct model_config *config, const struct trace *trace,
	      const struct tables *tables, struct model_counts *ret_counts, struct error *why)
{
	CLEANUP_FREE struct model *model = malloc(sizeof(*model));
	int ret;

	if (!model || model_create(model, config, tables) < 0)
		return error_set(why, -ENOMEM, "no memory for the modelled machine");
	ret = run(model, trace, why);
	if (!ret)
		*ret_counts = model->bus.counts;
	model_destroy(model);
	return ret;
}
