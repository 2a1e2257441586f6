/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_MODEL_FIXTURE_H
#define TESTS_UNIT_MODEL_FIXTURE_H

/*
 * A small modelled machine for the tests of its elements: its program has FIXTURE_PAGES pages, page
 * n of the model at FIXTURE_BASE + n * 4096, and every event of the device is kept.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "model/device_state.h"
#include "model/model.h"

#define FIXTURE_BASE (1ull << 30)
#define FIXTURE_PAGES 4096
#define FIXTURE_EVENTS_MAX 4096

struct fixture_event {
	enum device_event event;
	uint32_t page;
	uint64_t now_ns;
};

static struct tables tables;
static struct model model;
static struct fixture_event events[FIXTURE_EVENTS_MAX];
static uint32_t event_count; /* also of those that were not kept any more */

/* What a trace is that touches each page once. */
static inline void fixture_make_tables(void)
{
	static struct trace_writer writer;
	size_t bytes = sizeof(struct trace_header), block_bytes;
	uint8_t *file = malloc(sizeof(struct trace_header) +
			       FIXTURE_PAGES * (size_t)TRACE_ENCODED_BYTES_MAX +
			       sizeof(struct trace_block_header));
	struct trace_header header;
	const void *block;
	struct trace trace;
	struct error why;

	trace_writer_init(&writer);
	for (uint32_t page = 0; page < FIXTURE_PAGES; page++) {
		struct trace_reference touch = { .address = FIXTURE_BASE + page * PAGE_BYTES,
						 .bytes = 8 };

		if (!trace_writer_add(&writer, touch) && page + 1 < FIXTURE_PAGES)
			continue;
		block_bytes = trace_writer_take(&writer, &block);
		memcpy(file + bytes, block, block_bytes);
		bytes += block_bytes;
	}
	header = trace_writer_header(&writer, true);
	memcpy(file, &header, sizeof(header));
	ck_assert_int_eq(trace_open(file, bytes, &trace, &why), 0);
	ck_assert_int_eq(tables_create(&tables, &trace, &why), 0);
	ck_assert_uint_eq(tables.touched_pages, FIXTURE_PAGES);
	free(file);
}

static inline void fixture_observe(void *context, enum device_event event, uint32_t page,
				   uint64_t now_ns)
{
	if (event_count < FIXTURE_EVENTS_MAX)
		events[event_count] = (struct fixture_event){ event, page, now_ns };
	event_count++;
}

/* The least machine: 128 pages are local. Nothing is scanned unless the test asks for it. */
static inline struct model_config fixture_config(void)
{
	struct model_config config = model_config_default();

	config.local_bytes = MODEL_LOCAL_PAGES_MIN * PAGE_BYTES;
	config.private_bytes = 4 * KIB;
	config.shared_bytes = 16 * KIB;
	config.tlb_entries = 64;
	config.bitmap_bytes = 512;
	config.scan_ns = 0;
	return config;
}

static inline void fixture_begin(struct model_config config)
{
	struct error why = { "" };

	ck_assert_msg(model_config_check(&config, &why) == 0, "%s", why.text);
	fixture_make_tables();
	ck_assert_int_eq(model_create(&model, &config, &tables), 0);
	model.device.observe = fixture_observe;
	event_count = 0;
}

static inline void fixture_end(void)
{
	model_destroy(&model);
	tables_destroy(&tables);
}

static inline void fixture_set_state(uint32_t page, enum page_state state)
{
	device_set_entry(&model.device, page,
			 page_entry_with_state(device_entry(&model.device, page), state));
}

/* As after a run that touched everything: all pages but their newest bytes are elsewhere. */
static inline void fixture_all_far(void)
{
	for (uint32_t page = 0; page < FIXTURE_PAGES; page++)
		fixture_set_state(page, PAGE_FAR);
}

static inline enum page_state fixture_state(uint32_t page)
{
	return page_entry_state(device_entry(&model.device, page));
}

/* A reference by a core to 8 bytes of a line of a page. */
static inline void fixture_refer(uint32_t core, uint32_t page, uint32_t line, enum trace_kind kind)
{
	model_refer(&model, core,
		    (struct trace_reference){ .address = FIXTURE_BASE + page * PAGE_BYTES +
							 line * LINE_BYTES,
					      .bytes = 8,
					      .kind = (uint8_t)kind });
}

static inline void fixture_load(uint32_t page)
{
	fixture_refer(0, page, 0, TRACE_LOAD);
}

static inline void fixture_store(uint32_t page, uint32_t line)
{
	fixture_refer(0, page, line, TRACE_STORE);
}

/* Time goes by in which the program does nothing. */
static inline void fixture_pass(uint64_t ns)
{
	model.bus.now_ns += ns;
	device_advance(&model.device);
}

/* How often it happened to the page; to any page with DEVICE_NO_PAGE. */
static inline uint32_t fixture_count(enum device_event event, uint32_t page)
{
	uint32_t found = 0;

	ck_assert_uint_le(event_count, FIXTURE_EVENTS_MAX);
	for (uint32_t i = 0; i < event_count; i++)
		found += events[i].event == event &&
			 (page == DEVICE_NO_PAGE || events[i].page == page);
	return found;
}

#endif
