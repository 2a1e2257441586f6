/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/prefetch.h"

#include <stdlib.h>

#define PREFETCH_WINDOW_FIRST 4u
#define PREFETCH_STRIDE_MAX 64	/* pages; the further, the more often chance looks like a walk */
#define PREFETCH_NEAR_DEMANDS 4 /* of the latest: a neighbour among them is no chance */
/* Steps that a demand may be ahead of a window: pages between were local. */
#define PREFETCH_SKIP_MAX 8
/* Demands after which a stream that none of them continued is over. */
#define PREFETCH_AGE_MAX 1024
#define PREFETCH_PATIENCE_MAX 16
#define NO_PAGE UINT64_MAX

void prefetch_init(struct prefetch *prefetch, enum prefetch_mode mode)
{
	*prefetch = (struct prefetch){ .mode = mode };
}

static bool is_far(const struct page_table *table, uint64_t page)
{
	return page < table->page_count &&
	       page_entry_state(page_table_peek(table, page)) == PAGE_FAR;
}

/* The line's far pages without `page`. */
static uint32_t list_line(const struct page_table *table, uint64_t line, uint64_t page,
			  uint64_t ret_pages[PREFETCH_LINE_PAGES])
{
	uint64_t first = line * PREFETCH_LINE_PAGES;
	uint32_t asked[PREFETCH_LINE_PAGES], count = 0;

	for (uint64_t other = first; other < first + PREFETCH_LINE_PAGES; other++) {
		uint64_t entry = other < table->page_count ? page_table_peek(table, other) : 0;
		uint32_t at = count;

		if (other == page || page_entry_state(entry) != PAGE_FAR || entry & PAGE_ENTRY_BUSY)
			continue;
		for (; at > 0 && asked[at - 1] < page_entry_count(entry); at--) {
			asked[at] = asked[at - 1];
			ret_pages[at] = ret_pages[at - 1];
		}
		asked[at] = page_entry_count(entry);
		ret_pages[at] = other;
		count++;
	}
	return count;
}

uint32_t prefetch_line(const struct page_table *table, uint64_t page,
		       uint64_t ret_pages[PREFETCH_LINE_PAGES])
{
	return list_line(table, page / PREFETCH_LINE_PAGES, page, ret_pages);
}

uint32_t prefetch_whole_line(const struct page_table *table, uint64_t line,
			     uint64_t ret_pages[PREFETCH_LINE_PAGES])
{
	return list_line(table, line, NO_PAGE, ret_pages);
}

static bool is_recent(const struct prefetch *prefetch, uint64_t page)
{
	for (uint32_t i = 0; i < PREFETCH_RECENT; i++)
		if (prefetch->recent[i] == page + 1)
			return true;
	return false;
}

/* The distance at which the demands have come, this being the third; or 1 or -1 of neighbours. */
static int64_t find_stride(const struct prefetch *prefetch, uint64_t page)
{
	for (uint32_t i = 1; i <= PREFETCH_RECENT; i++) {
		uint64_t other = prefetch->recent[(prefetch->recent_next - i) % PREFETCH_RECENT];
		int64_t stride = (int64_t)(page + 1 - other);

		if (!other || !stride || llabs(stride) > PREFETCH_STRIDE_MAX)
			continue;
		if ((llabs(stride) == 1 && i <= PREFETCH_NEAR_DEMANDS) ||
		    is_recent(prefetch, page - (uint64_t)(2 * stride)))
			return stride;
	}
	return 0;
}

static bool is_walk(const struct prefetch_stream *stream)
{
	return llabs(stream->stride) == 1;
}

/* A walk would have demanded the far pages on its way from `from` to `page`. */
static bool comes_straight(const struct page_table *table, const struct prefetch_stream *stream,
			   uint64_t from, uint64_t page)
{
	for (; from != page; from += (uint64_t)stream->stride)
		if (is_far(table, from))
			return false;
	return true;
}

/*
 * Whether the demand belongs to the stream: behind its window, or, where a page of the window did
 * not come or left too early, within. *ret_steps are those from the stream's last demand.
 */
static bool is_of(const struct page_table *table, const struct prefetch_stream *stream,
		  uint64_t page, int64_t *ret_steps)
{
	int64_t distance = (int64_t)(page - stream->last);
	int64_t window;

	if (!stream->stride || distance % stream->stride)
		return false;
	*ret_steps = distance / stream->stride;
	window = (int64_t)(stream->end - stream->last) / stream->stride;
	if (*ret_steps <= 0 || *ret_steps > window + PREFETCH_SKIP_MAX)
		return false;
	return *ret_steps < window || comes_straight(table, stream, stream->end, page);
}

static struct prefetch_stream *find_stream(struct prefetch *prefetch,
					   const struct page_table *table, uint64_t page,
					   int64_t *ret_steps)
{
	for (uint32_t i = 0; i < PREFETCH_STREAMS; i++) {
		struct prefetch_stream *stream = &prefetch->streams[i];

		if (prefetch->clock - stream->age <= PREFETCH_AGE_MAX &&
		    is_of(table, stream, page, ret_steps))
			return stream;
	}
	return NULL;
}

/* How long nobody asked for it, in steps of its own: a window spares it so many demands. */
static uint32_t idle_steps(const struct prefetch *prefetch, const struct prefetch_stream *stream)
{
	return (prefetch->clock - stream->age) / (stream->window + 1);
}

/* What it had fetched last is wasted; where that was all, the next one has to show more. */
static void give_up(struct prefetch *prefetch, struct prefetch_stream *stream,
		    struct prefetch_verdict *verdict)
{
	if (stream->issued)
		*verdict = (struct prefetch_verdict){ .source = stream->source,
						      .wasted = stream->issued };
	if (stream->trust == PREFETCH_TRIED && prefetch->patience < PREFETCH_PATIENCE_MAX)
		prefetch->patience++;
	*stream = (struct prefetch_stream){ 0 };
}

/* The stream that was not asked for longest gives way. */
static struct prefetch_stream *new_stream(struct prefetch *prefetch,
					  struct prefetch_verdict *verdict)
{
	struct prefetch_stream *oldest = &prefetch->streams[0];

	for (uint32_t i = 1; i < PREFETCH_STREAMS; i++)
		if (idle_steps(prefetch, &prefetch->streams[i]) > idle_steps(prefetch, oldest))
			oldest = &prefetch->streams[i];
	give_up(prefetch, oldest, verdict);
	return oldest;
}

/* The stream's next window, from `page` on. */
static void plan_window(const struct page_table *table, uint64_t page,
			struct prefetch_stream *stream, struct prefetch_plan *plan)
{
	plan->source = stream->source = is_walk(stream) ? PREFETCH_BY_STREAM : PREFETCH_BY_STRIDE;
	stream->last = page;
	for (uint32_t step = 0; step < stream->window; step++) {
		page += (uint64_t)stream->stride;
		if (is_far(table, page))
			plan->pages[plan->count++] = page;
	}
	stream->end = page + (uint64_t)stream->stride;
	stream->issued = plan->count;
}

/*
 * Twice as far, in whole lines where it goes from page to page; half as far when pages of the
 * window did not stay until their turn, and then not at all.
 */
static uint32_t next_window(const struct prefetch_stream *stream, bool came_through)
{
	uint32_t window = came_through ? 2 * stream->window + 1 : stream->window / 2;

	if (window < PREFETCH_WINDOW_FIRST)
		return came_through ? PREFETCH_WINDOW_FIRST : 0;
	if (is_walk(stream))
		window |= PREFETCH_LINE_PAGES - 1;
	return window < PREFETCH_PAGES_MAX ? window : PREFETCH_PAGES_MAX;
}

/* The stream has a window, and the demand tells what became of it. */
static void go_on(struct prefetch *prefetch, struct prefetch_stream *stream, int64_t steps,
		  struct prefetch_verdict *verdict)
{
	bool came_through = steps > (int64_t)stream->window;
	uint32_t used = stream->issued;

	if (!came_through && used > (uint32_t)steps)
		used = (uint32_t)steps;
	*verdict = (struct prefetch_verdict){ .source = stream->source,
					      .used = used,
					      .wasted = stream->issued - used };
	stream->window = next_window(stream, came_through);
	if (!came_through || stream->trust == PREFETCH_PROVED)
		return;
	stream->trust = PREFETCH_PROVED;
	if (prefetch->patience > 0)
		prefetch->patience--;
}

/* The line of the demand, and behind it the stream that may come of it. */
static void plan_line(const struct page_table *table, uint64_t page, struct prefetch_stream *stream,
		      struct prefetch_plan *plan)
{
	uint64_t at = page % PREFETCH_LINE_PAGES;

	plan->source = stream->source = PREFETCH_BY_LINE;
	plan->count = prefetch_line(table, page, plan->pages);
	stream->last = page;
	stream->issued = plan->count;
	stream->window = (uint32_t)(stream->stride > 0 ? PREFETCH_LINE_PAGES - 1 - at : at);
	stream->end = page + (uint64_t)(stream->stride * (stream->window + 1));
}

static void name_stream(const struct prefetch *prefetch, const struct prefetch_stream *stream,
			struct prefetch_plan *plan)
{
	plan->stream = (uint32_t)(stream - prefetch->streams);
	plan->age = stream->age;
}

/* Nothing is fetched yet: the stream waits for the demand behind this one. */
static void wait_on(struct prefetch_stream *stream, uint64_t page)
{
	stream->last = page;
	stream->end = page + (uint64_t)stream->stride;
}

/* The stream's first window, when it has shown enough. */
static void try(struct prefetch *prefetch, const struct page_table *table, uint64_t page,
		struct prefetch_stream *stream, struct prefetch_plan *plan)
{
	if (stream->in_step++ < prefetch->patience) {
		wait_on(stream, page);
		return;
	}
	stream->trust = PREFETCH_TRIED;
	stream->window = PREFETCH_WINDOW_FIRST;
	if (is_walk(stream))
		plan_line(table, page, stream, plan);
	else
		plan_window(table, page, stream, plan);
}

static void adapt(struct prefetch *prefetch, const struct page_table *table, uint64_t page,
		  struct prefetch_plan *plan, struct prefetch_verdict *verdict)
{
	int64_t steps = 0, stride;
	struct prefetch_stream *stream = find_stream(prefetch, table, page, &steps);

	if (!stream) {
		stride = find_stride(prefetch, page);
		if (!stride)
			return;
		stream = new_stream(prefetch, verdict);
		stream->stride = stride;
	}
	stream->age = prefetch->clock;
	name_stream(prefetch, stream, plan);
	if (stream->trust == PREFETCH_WAITS) {
		try(prefetch, table, page, stream, plan);
		return;
	}
	go_on(prefetch, stream, steps, verdict);
	plan_window(table, page, stream, plan);
	if (!stream->window)
		give_up(prefetch, stream, verdict);
}

/* A line proves right when one beside it is demanded. */
static void take_line(struct prefetch *prefetch, const struct page_table *table, uint64_t page,
		      struct prefetch_plan *plan, struct prefetch_verdict *verdict)
{
	uint64_t line = page / PREFETCH_LINE_PAGES;
	struct prefetch_stream *stream = NULL;

	for (uint32_t i = 0; i < PREFETCH_STREAMS && !stream; i++)
		if (prefetch->streams[i].stride &&
		    llabs((int64_t)(line - prefetch->streams[i].last / PREFETCH_LINE_PAGES)) <= 1)
			stream = &prefetch->streams[i];
	if (stream)
		*verdict = (struct prefetch_verdict){ .source = PREFETCH_BY_LINE,
						      .used = stream->issued };
	else
		stream = new_stream(prefetch, verdict);
	*stream = (struct prefetch_stream){ .stride = 1, .age = prefetch->clock };
	name_stream(prefetch, stream, plan);
	plan_line(table, page, stream, plan);
}

void prefetch_demand(struct prefetch *prefetch, const struct page_table *table, uint64_t page,
		     struct prefetch_plan *ret_plan, struct prefetch_verdict *ret_verdict)
{
	*ret_verdict = (struct prefetch_verdict){ 0 };
	ret_plan->count = 0;
	prefetch->clock++;
	if (prefetch->mode == PREFETCH_LINE)
		take_line(prefetch, table, page, ret_plan, ret_verdict);
	else if (prefetch->mode == PREFETCH_ADAPTIVE)
		adapt(prefetch, table, page, ret_plan, ret_verdict);
	prefetch->recent[prefetch->recent_next++ % PREFETCH_RECENT] = page + 1;
}

void prefetch_lost(struct prefetch *prefetch, const struct prefetch_plan *plan, uint32_t count)
{
	struct prefetch_stream *stream = &prefetch->streams[plan->stream];

	if (stream->stride && stream->age == plan->age)
		stream->issued -= count;
}
