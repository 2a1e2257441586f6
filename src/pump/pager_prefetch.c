/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefetch, live: the pages that policy/prefetch.h names at a fault come with the page demanded
 * (docs/design/prefetch.md). They land in the lane's own pages and are copied in from there, runs
 * of neighbours in one call. A timer runs from the start of the fetch (method M2, US 11,442,865):
 * what has come when it ends is made present, everything else is left far for the ordinary fault
 * path, and nothing more is fetched ahead in this lane until its reads have ended.
 */
#include "pump/pager_state.h"

#include "base/clock.h"
#include "base/sort.h"

#define TIMER_NS_MIN 200000 /* of one that follows the fetches: several round trips to a node */
#define TIMER_FETCHES 4	    /* as many usual fetches */
#define FETCH_WEIGHT 16	    /* one fetch counts so much against those before */

_Static_assert(RUN_PREFETCH_SOURCES == PREFETCH_SOURCES, "each source has its counters");
_Static_assert(INTAKE_PAGES_MAX <= BACKING_IO_PAGES_MAX, "neighbours are one read");
_Static_assert(INTAKE_PAGES_MAX <= FAR_READS_MAX, "each page may be a read of its own");

/* ---- What is to come ---- */

static uint64_t slot_of(const void *arrival)
{
	return page_entry_slot(((const struct arrival *)arrival)->entry);
}

/* Takes the entries of those pages of the plan that are still far. */
static void take_entries(struct lane *lane)
{
	struct pager *pager = lane->pager;
	struct intake *intake = &lane->intake;

	for (uint32_t i = 0; i < intake->plan.count; i++) {
		uint64_t page = intake->plan.pages[i], entry;

		if (!page_table_acquire(&pager->table, page, &entry))
			continue;
		if (page_entry_state(entry) != PAGE_FAR) {
			page_table_release(&pager->table, page, entry);
			continue;
		}
		intake->pages[intake->count] = (struct arrival){ .page = (uint32_t)page,
								 .rank = intake->count,
								 .entry = entry };
		intake->count++;
	}
}

static void leave_far(struct pager *pager, struct arrival *arrival)
{
	if (arrival->rank > 0) /* the page demanded is the fault's */
		page_table_release(&pager->table, arrival->page, arrival->entry);
}

/* Room for each page, as far as there is; those of the lowest rank go without. */
static bool make_room(struct lane *lane)
{
	struct intake *intake = &lane->intake;
	uint32_t count = 0;

	while (count < intake->count && pager_reserve_at_once(lane))
		count++;
	while (intake->count > (count ? count : 1))
		leave_far(lane->pager, &intake->pages[--intake->count]);
	sort_by(intake->pages, intake->count, sizeof(intake->pages[0]), slot_of);
	return count > 0;
}

static bool is_next(const struct arrival *a, const struct arrival *b)
{
	uint32_t slot = page_entry_slot(a->entry), next = page_entry_slot(b->entry);

	return next == slot + 1 && slot_extent_of(next) == slot_extent_of(slot);
}

static char *landing_of(const struct lane *lane, const struct arrival *arrival)
{
	return lane->landing + (size_t)(arrival - lane->intake.pages) * PAGE_BYTES;
}

/* ---- Arrivals ---- */

/* So many pages of the plan do not come. */
static void lose(struct lane *lane, uint32_t count)
{
	struct pager *pager = lane->pager;

	if (!count)
		return;
	pthread_mutex_lock(&pager->prefetch_lock);
	prefetch_lost(&pager->prefetch, &lane->intake.plan, count);
	pthread_mutex_unlock(&pager->prefetch_lock);
}

/* Those that were to come ahead of need and did not: late, not whole, or without their place. */
static void count_missing(struct lane *lane, const struct run_in *run)
{
	const struct arrival *pages = &lane->intake.pages[run->first];
	uint32_t missing = 0;

	for (uint32_t i = 0; i < run->count; i++)
		missing += !pages[i].present && pages[i].rank > 0;
	if (lane->intake.expired)
		pager_count(&lane->pager->counters->prefetch[lane->intake.plan.source].late,
			    missing);
	lose(lane, missing);
}

static void note_present(struct pager *pager, struct arrival *arrival)
{
	arrival->entry = page_entry_counted(page_entry_with_state(arrival->entry, PAGE_LOCAL));
	arrival->present = true;
	pager_count(&pager->counters->pages_fetched, 1);
}

/* Installs the first pages, as far as they are neighbours: how many. */
static uint32_t install(struct lane *lane, struct arrival *pages, uint32_t count)
{
	struct pager *pager = lane->pager;
	uint32_t run = 1;
	size_t copied;

	while (run < count && pages[run].page == pages[0].page + run)
		run++;
	uffd_copy_run(&pager->uffd, pager_page(pager, pages[0].page), landing_of(lane, pages),
		      run * PAGE_BYTES, &copied);
	run = (uint32_t)(copied / PAGE_BYTES);
	for (uint32_t i = 0; i < run; i++) {
		note_present(pager, &pages[i]);
		pager_record(lane, &pages[i].entry, landing_of(lane, &pages[i]));
		pager_list(pager, pages[i].page);
	}
	return run;
}

/* Of a read that comes when the timer has ended, the page demanded alone is of use. */
static uint32_t only_demanded(const struct arrival *pages, uint32_t count)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < count; i++)
		mask |= (uint32_t)(pages[i].rank == 0) << i;
	return mask;
}

/* Makes those pages of the run present that came whole and in time; the others stay far. */
static void admit(struct lane *lane, struct run_in *run, uint32_t good)
{
	struct pager *pager = lane->pager;
	struct arrival *pages = &lane->intake.pages[run->first];

	if (lane->intake.expired)
		good &= only_demanded(pages, run->count);
	for (uint32_t i = 0; i < run->count;) {
		uint32_t whole = 0, installed = 0;

		while (i + whole < run->count && good >> (i + whole) & 1)
			whole++;
		if (whole)
			installed = install(lane, &pages[i], whole);
		if (!installed)
			pager_unreserve(pager);
		i += installed ? installed : 1;
	}
	count_missing(lane, run);
	for (uint32_t i = 0; i < run->count; i++)
		leave_far(pager, &pages[i]);
	run->done = true;
}

/* ---- Reads ---- */

static void make_runs(struct intake *intake)
{
	intake->run_count = 0;
	for (uint32_t i = 0; i < intake->count; i++) {
		struct run_in *run = &intake->runs[intake->run_count];

		if (i > 0 && is_next(&intake->pages[i - 1], &intake->pages[i])) {
			run[-1].count++;
			if (run[-1].rank > intake->pages[i].rank)
				run[-1].rank = intake->pages[i].rank;
			continue;
		}
		*run = (struct run_in){ .first = i, .count = 1, .rank = intake->pages[i].rank };
		intake->run_count++;
	}
}

static uint64_t rank_of(const void *run)
{
	return ((const struct run_in *)run)->rank;
}

/* Fetches start with the page demanded, and then with what the policy wants most (M1). */
static void begin_reads(struct lane *lane)
{
	struct pager *pager = lane->pager;
	struct intake *intake = &lane->intake;

	sort_by(intake->runs, intake->run_count, sizeof(intake->runs[0]), rank_of);
	for (uint32_t r = 0; r < intake->run_count; r++) {
		struct run_in *run = &intake->runs[r];
		struct arrival *pages = &intake->pages[run->first];
		uint32_t crcs[INTAKE_PAGES_MAX];

		for (uint32_t i = 0; i < run->count; i++)
			crcs[i] = pager->checksums[pages[i].page];
		if (far_read_begin(lane->far, page_entry_slot(pages[0].entry), run->count,
				   landing_of(lane, pages), crcs, &run->read))
			admit(lane, run, 0);
		else
			pager_count(&pager->counters->prefetch[intake->plan.source].issued,
				    run->count - (run->rank == 0));
	}
}

/* The timer has ended: nothing that comes now is made present but the page demanded. */
static void expire(struct lane *lane)
{
	struct intake *intake = &lane->intake;

	intake->expired = true;
	for (uint32_t r = 0; r < intake->run_count; r++) {
		struct run_in *run = &intake->runs[r];
		struct arrival *pages = &intake->pages[run->first];

		if (run->done || run->rank == 0)
			continue;
		lane->late[lane->late_count++] = run->read;
		for (uint32_t i = 0; i < run->count; i++) {
			pager_unreserve(lane->pager);
			leave_far(lane->pager, &pages[i]);
		}
		count_missing(lane, run);
		run->done = true;
	}
}

/* Makes present what has come in time; true when nothing more is to come. */
static bool take_arrivals(struct lane *lane)
{
	struct intake *intake = &lane->intake;
	bool all = true;

	if (!intake->expired && clock_now_ns() > intake->deadline_ns)
		expire(lane);
	for (uint32_t r = 0; r < intake->run_count; r++) {
		struct run_in *run = &intake->runs[r];
		uint32_t good;

		if (!run->done && far_read_poll(lane->far, run->read, &good))
			admit(lane, run, good);
		all = all && run->done;
	}
	return all;
}

void pager_reap_late(struct lane *lane)
{
	uint32_t good;

	for (uint32_t i = 0; i < lane->late_count;)
		if (far_read_poll(lane->far, lane->late[i], &good))
			lane->late[i] = lane->late[--lane->late_count];
		else
			i++;
}

/* ---- A fault ---- */

static void plan(struct pager *pager, uint64_t page, struct prefetch_plan *ret_plan)
{
	struct run_counters *counters = pager->counters;
	struct prefetch_verdict verdict;

	pthread_mutex_lock(&pager->prefetch_lock);
	prefetch_demand(&pager->prefetch, &pager->table, page, ret_plan, &verdict);
	pthread_mutex_unlock(&pager->prefetch_lock);
	pager_count(&counters->prefetch[verdict.source].used, verdict.used);
	pager_count(&counters->prefetch[verdict.source].wasted, verdict.wasted);
}

void pager_note_fetch(struct pager *pager, uint64_t ns)
{
	uint64_t usual = atomic_load_explicit(&pager->fetch_ns, memory_order_relaxed);

	usual += (uint64_t)((int64_t)(ns - usual) / FETCH_WEIGHT);
	atomic_store_explicit(&pager->fetch_ns, usual, memory_order_relaxed);
}

static uint64_t timer_ns(const struct pager *pager)
{
	uint64_t ns = TIMER_FETCHES * atomic_load_explicit(&pager->fetch_ns, memory_order_relaxed);

	if (pager->prefetch_timer_ns)
		return pager->prefetch_timer_ns;
	if (ns < TIMER_NS_MIN)
		ns = TIMER_NS_MIN;
	return ns < pager->timer_ns_max ? ns : pager->timer_ns_max;
}

static struct arrival *demanded(struct intake *intake)
{
	struct arrival *arrival = intake->pages;

	while (arrival->rank > 0)
		arrival++;
	return arrival;
}

bool pager_bring_ahead(struct lane *lane, uint64_t page, uint64_t *entry)
{
	struct pager *pager = lane->pager;
	struct intake *intake = &lane->intake;
	struct arrival *arrival;

	if (pager->prefetch.mode == PREFETCH_NONE || atomic_load(&pager->still))
		return false;
	plan(pager, page, &intake->plan);
	if (!intake->plan.count)
		return false;
	intake->count = 1;
	intake->pages[0] = (struct arrival){ .page = (uint32_t)page, .entry = *entry };
	if (lane->late_count == 0)
		take_entries(lane);
	if (lane->late_count > 0 || !make_room(lane)) {
		lose(lane, intake->plan.count);
		return false;
	}
	lose(lane, intake->plan.count - (intake->count - 1));
	arrival = demanded(intake);
	make_runs(intake);
	intake->expired = false;
	intake->begun_ns = clock_now_ns();
	intake->deadline_ns = intake->begun_ns + timer_ns(pager);
	begin_reads(lane);
	/* The first read is the one with the page demanded. */
	for (uint32_t spins = 1; !intake->runs[0].done; spins++) {
		take_arrivals(lane);
		far_rest(spins, intake->begun_ns);
	}
	if (arrival->present)
		pager_note_fetch(pager, clock_now_ns() - intake->begun_ns);
	*entry = arrival->entry;
	return arrival->present;
}

void pager_end_intake(struct lane *lane)
{
	struct intake *intake = &lane->intake;

	for (uint32_t spins = 1; intake->run_count; spins++) {
		if (take_arrivals(lane))
			intake->run_count = 0;
		else
			far_rest(spins, intake->begun_ns);
	}
}
