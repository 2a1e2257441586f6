/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

/*
 * The whole modelled machine: a processor and a device on an interconnect, driven by the references
 * of a trace. It is deterministic: the same trace, configuration and seed give the same counts. One
 * thread; as many machines as there is memory for.
 */

#include "format/trace.h"
#include "model/device.h"
#include "model/interconnect.h"
#include "model/processor.h"
#include "model/tables.h"

struct model {
	struct model_config config;
	struct interconnect bus;
	struct device device;
	struct processor processor;
	uint32_t stores; /* so many so far: what stands for the bytes of a store */
};

/* A machine before its first reference; `tables` stays the caller's. -ENOMEM. */
int model_create(struct model *ret_model, const struct model_config *config,
		 const struct tables *tables);
void model_destroy(struct model *model); /* also half-made or zeroed */

/* One reference by a core; the tables were made of a trace with its page. */
void model_refer(struct model *model, uint32_t core, struct trace_reference reference);

/*
 * Runs a trace from its beginning to its end. The tables were made from it, so that it is known to
 * be whole. -ENOMEM in words.
 */
int model_run(const struct model_config *config, const struct trace *trace,
	      const struct tables *tables, struct model_counts *ret_counts, struct error *why);

#endif
