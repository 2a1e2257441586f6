/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of mem_map that move pages between addresses and between processes. */
#include "mem_map_arena.h"

/* What mremap did, told to the model: count pages moved, `grown` new ones behind them. */
static void model_move(struct run from, size_t to, size_t new_count, bool keep_source)
{
	size_t moved = from.count < new_count ? from.count : new_count;
	struct page like = pages[from.first];
	memmove(model_of(to), model_of(from.first), moved * PAGE);
	memmove(&pages[to], &pages[from.first], moved * sizeof(struct page));
	like.flags &= (uint8_t)~FLAG_FREED;
	for (size_t page = to + moved; page < to + new_count; page++) {
		pages[page] = like;
		memset(model_of(page), 0, PAGE);
	}
	for (size_t page = from.first; page < from.first + from.count; page++) {
		if (page >= to && page < to + new_count)
			continue;
		if (keep_source) {
			memset(model_of(page), 0, PAGE);
			pages[page].flags &= (uint8_t)~FLAG_FREED;
		} else {
			pages[page] = (struct page){ 0 };
		}
	}
}

static bool runs_overlap(struct run a, struct run b)
{
	return a.first < b.first + b.count && b.first < a.first + a.count;
}

static void remap_fixed(struct run from, size_t new_count, int flags)
{
	struct run to = { .first = random_below(&dice, page_count), .count = new_count };
	if (to.count > page_count - to.first || runs_overlap(from, to))
		return;
	void *got = mremap(address_of(from.first), from.count * PAGE, new_count * PAGE,
			   MREMAP_MAYMOVE | MREMAP_FIXED | flags, address_of(to.first));
	if (got == MAP_FAILED) {
		/*
		 * EFAULT: natively the source may be several mappings though all its pages are
		 * alike. Then the target may be unmapped or not, so make it known again.
		 */
		CHECK(errno == EFAULT);
		map_at(to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		run_set(to, PAGE_ANON, PROT_READ | PROT_WRITE);
		memset(model_of(to.first), 0, to.count * PAGE);
		run_check(from, "after a refused mremap");
		return;
	}
	CHECK(got == address_of(to.first));
	model_move(from, to.first, new_count, flags != 0);
	run_check(to, "moved");
}

static void remap_anywhere(struct run from, size_t new_count)
{
	uint8_t *got =
		mremap(address_of(from.first), from.count * PAGE, new_count * PAGE, MREMAP_MAYMOVE);
	if (got == MAP_FAILED) {
		CHECK(errno == EFAULT);
		return;
	}
	if (got >= arena && got < arena + page_count * PAGE) {
		size_t to = (size_t)(got - arena) / PAGE;
		model_move(from, to, new_count, false);
		run_check((struct run){ to, new_count }, "moved anywhere");
		return;
	}
	/* Outside the arena: bring it back to where it was, over whatever is there. */
	CHECK(mremap(got, new_count * PAGE, from.count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     address_of(from.first)) == address_of(from.first));
	run_check(from, "moved away and back");
}

static void remap_in_place(struct run from, size_t new_count)
{
	bool room = from.first + new_count <= page_count;
	for (size_t page = from.first + from.count; room && page < from.first + new_count; page++)
		room = pages[page].kind == PAGE_NONE;
	void *got = mremap(address_of(from.first), from.count * PAGE, new_count * PAGE, 0);
	if (got == MAP_FAILED) {
		CHECK(new_count > from.count && (errno == ENOMEM || errno == EFAULT));
		return;
	}
	CHECK(got == address_of(from.first) && (new_count <= from.count || room));
	model_move(from, from.first, new_count, false);
	run_check((struct run){ from.first, new_count }, "resized in place");
}

void operation_remap(void)
{
	struct run run = run_uniform(run_random(RUN_PAGES_MAX));
	if (pages[run.first].kind != PAGE_ANON)
		return;
	size_t grown = run.count + 1 + random_below(&dice, RUN_PAGES_MAX);
	size_t shrunk = 1 + random_below(&dice, run.count);
	switch (random_below(&dice, 6)) {
	case 0:
		remap_in_place(run, shrunk);
		break;
	case 1:
		remap_in_place(run, grown);
		break;
	case 2:
		remap_anywhere(run, grown);
		break;
	case 3:
		remap_fixed(run, grown, 0);
		break;
	case 4:
		remap_fixed(run, run.count, MREMAP_DONTUNMAP);
		break;
	default:
		remap_fixed(run, run.count, 0);
	}
}

static void child_main(void)
{
	for (size_t page = 0; page < page_count; page++) {
		struct page *state = &pages[page];
		if (state->flags & FLAG_NOT_FORKED && state->kind != PAGE_NONE) {
			if (random_below(&dice, 8) == 0)
				CHECK(probe(address_of(page), false) == SIGSEGV);
			state->kind = PAGE_NONE;
		} else if (state->flags & FLAG_WIPED) {
			if (state->prot & PROT_READ && !bytes_are_zero(address_of(page), PAGE))
				fail("operation %llu: page %zu was to be wiped on fork",
				     (unsigned long long)operation, page);
			state->kind = PAGE_NONE;
		} else {
			page_check(page, "in the child");
		}
	}
	/* The child's writes must stay its own. */
	for (size_t page = 0; page < page_count; page += 1 + random_below(&dice, 8))
		if (pages[page].kind == PAGE_ANON && pages[page].prot & PROT_WRITE)
			memset(address_of(page), 0xcc, PAGE);
	_exit(0);
}

/* The child works on private copies of what is known; the model itself is shared. */
void operation_fork(void)
{
	memcpy(pages_copy, pages, page_count * sizeof(struct page));
	memcpy(model_copy, model, page_count * PAGE);
	pid_t pid = fork();
	if (pid == 0) {
		pages = pages_copy;
		model = model_copy;
		child_main();
	}
	/* Write on meanwhile, but not where the child shares the pages. */
	for (int step = 0; step < 200; step++) {
		size_t page = random_below(&dice, page_count);
		if (pages[page].kind == PAGE_ANON)
			page_write(page);
	}
	child_check(pid, "child of the arena");
}
