/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_counters.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/histogram.h"

static_assert(RUN_HISTOGRAM_FIRST == HISTOGRAM_FIRST, "one shape of histogram");
static_assert(RUN_HISTOGRAM_STEPS == HISTOGRAM_STEPS, "one shape of histogram");
static_assert(RUN_HISTOGRAM_BUCKETS == HISTOGRAM_BUCKETS, "one shape of histogram");
static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "counters are read as plain words");

#define RUN_FIELD(field, field_kind)                                                               \
	{                                                                                          \
		.name = #field, .offset = offsetof(struct run_counters, field), .kind = field_kind \
	}
#define PREFETCH_FIELD(source, index, field)                                                       \
	{                                                                                          \
		.name = "prefetch_" source "_" #field,                                             \
		.offset = offsetof(struct run_counters, prefetch[index].field),                    \
		.kind = COUNTER_SUM                                                                \
	}
#define PREFETCH_FIELDS(source, index)                                                             \
	PREFETCH_FIELD(source, index, issued), PREFETCH_FIELD(source, index, used),                \
		PREFETCH_FIELD(source, index, late), PREFETCH_FIELD(source, index, wasted)
#define BACKING_FIELD(field, field_kind)                                                           \
	{                                                                                          \
		.name = #field, .offset = offsetof(struct run_backing_counters, field),            \
		.kind = field_kind                                                                 \
	}

const struct counter_field run_counter_fields[RUN_COUNTER_FIELDS] = {
	RUN_FIELD(faults, COUNTER_SUM),		RUN_FIELD(pages_fetched, COUNTER_SUM),
	RUN_FIELD(pages_zeroed, COUNTER_SUM),	RUN_FIELD(pages_evicted, COUNTER_SUM),
	RUN_FIELD(pages_written, COUNTER_SUM),	RUN_FIELD(pages_by_line, COUNTER_SUM),
	RUN_FIELD(lines_written, COUNTER_SUM),	RUN_FIELD(bytes_written, COUNTER_SUM),
	RUN_FIELD(second_chances, COUNTER_SUM), RUN_FIELD(fetch_timeouts, COUNTER_SUM),
	RUN_FIELD(fetch_retries, COUNTER_SUM),	RUN_FIELD(pages_recopied, COUNTER_SUM),
	RUN_FIELD(pages_lost, COUNTER_SUM),	RUN_FIELD(pinned_skipped, COUNTER_SUM),
	RUN_FIELD(local_bytes, COUNTER_NOW),	RUN_FIELD(local_bytes_max, COUNTER_MAX),
	RUN_FIELD(region_bytes, COUNTER_NOW),	RUN_FIELD(region_bytes_max, COUNTER_MAX),
	RUN_FIELD(metadata_bytes, COUNTER_MAX), PREFETCH_FIELDS("line", 0),
	PREFETCH_FIELDS("stream", 1),		PREFETCH_FIELDS("stride", 2),
};

const struct counter_field run_backing_fields[RUN_BACKING_FIELDS] = {
	BACKING_FIELD(pages, COUNTER_LAST),	   BACKING_FIELD(bytes_held, COUNTER_LAST),
	BACKING_FIELD(pages_fetched, COUNTER_SUM), BACKING_FIELD(pages_stored, COUNTER_SUM),
	BACKING_FIELD(errors, COUNTER_SUM),	   BACKING_FIELD(lost, COUNTER_SUM),
};

static_assert(offsetof(struct run_counters, fault_ns) ==
		      RUN_COUNTER_FIELDS * sizeof(_Atomic uint64_t),
	      "every counter has its line in the table");
static_assert(sizeof(struct run_backing_counters) == RUN_BACKING_FIELDS * sizeof(_Atomic uint64_t),
	      "every counter of a backing has its line in the table");

static _Atomic uint64_t *word_at(const void *counters, const struct counter_field *field)
{
	return (_Atomic uint64_t *)((char *)counters + field->offset);
}

uint64_t run_counter_get(const void *counters, const struct counter_field *field)
{
	return atomic_load_explicit(word_at(counters, field), memory_order_relaxed);
}

static void fold_field(void *sums, const void *one, const struct counter_field *field, bool ended)
{
	uint64_t before = run_counter_get(sums, field), value = run_counter_get(one, field);
	uint64_t larger = before > value ? before : value, after = before;

	switch (field->kind) {
	case COUNTER_SUM:
		after = before + value;
		break;
	case COUNTER_MAX:
		after = larger;
		break;
	case COUNTER_NOW:
		after = ended ? before : before + value;
		break;
	case COUNTER_LAST:
		after = ended ? larger : before + value;
		break;
	}
	atomic_store_explicit(word_at(sums, field), after, memory_order_relaxed);
}

static void fold(struct run_counters *sums, const struct run_counters *one, bool ended)
{
	uint32_t i, b;

	for (i = 0; i < RUN_COUNTER_FIELDS; i++)
		fold_field(sums, one, &run_counter_fields[i], ended);
	for (b = 0; b < RUN_BACKINGS_MAX; b++)
		for (i = 0; i < RUN_BACKING_FIELDS; i++)
			fold_field(&sums->backings[b], &one->backings[b], &run_backing_fields[i],
				   ended);
	for (i = 0; i < RUN_HISTOGRAM_BUCKETS; i++)
		atomic_store_explicit(
			&sums->fault_ns[i],
			atomic_load_explicit(&sums->fault_ns[i], memory_order_relaxed) +
				atomic_load_explicit(&one->fault_ns[i], memory_order_relaxed),
			memory_order_relaxed);
}

void run_counters_fold_ended(struct run_counters *sums, const struct run_counters *ended)
{
	fold(sums, ended, true);
}

uint32_t run_counters_total(const struct run_segment *segment, struct run_counters *ret_total)
{
	uint32_t i, live = 0;

	memset(ret_total, 0, sizeof(*ret_total));
	for (i = 0; i < RUN_MEMBERS_MAX; i++) {
		/* Pairs with the launcher's release: a live member's counters began at zero. */
		if (atomic_load_explicit(&segment->members[i].state, memory_order_acquire) !=
		    RUN_MEMBER_LIVE)
			continue;
		fold(ret_total, &segment->members[i].counters, false);
		live++;
	}
	fold(ret_total, &segment->ended, true);
	return live;
}

uint64_t run_counters_fault_ns(const struct run_counters *counters, uint32_t permille)
{
	uint64_t plain[RUN_HISTOGRAM_BUCKETS];
	uint32_t i;

	for (i = 0; i < RUN_HISTOGRAM_BUCKETS; i++)
		plain[i] = atomic_load_explicit(&counters->fault_ns[i], memory_order_relaxed);
	return histogram_quantile_ns(plain, permille);
}
