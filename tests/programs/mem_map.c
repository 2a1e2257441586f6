/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model test of the mapping calls: random operations on an arena of SIZE MiB, compared with a
 * plain array that lies in a shared file mapping, where no pager may be.
 *
 * While the test runs the process has holes in the arena, so it must not allocate: a mapping made
 * by a library would land in them.
 */
#include "mem_map_arena.h"

#define LONG_RUN_PAGES_MAX 1024
#define FILE_PAGES 256ul
#define OPERATIONS_PER_MIB 700

uint8_t *arena;
uint8_t *model;
struct page *pages;
uint8_t *model_copy;
struct page *pages_copy;
size_t page_count;
struct random dice;
uint64_t operation;
static uint64_t seed;
static int private_fd; /* FILE_PAGES pages of pattern */
static int shared_fd;  /* page_count pages; arena page i always maps page i of it */
static uint8_t *file_bytes;

struct run run_random(size_t limit)
{
	struct run run = { .first = random_below(&dice, page_count) };
	run.count = 1 + random_skewed(&dice, limit);
	if (run.count > page_count - run.first)
		run.count = page_count - run.first;
	return run;
}

/* Cuts the run where pages stop being like its first one. */
struct run run_uniform(struct run run)
{
	const struct page *first = &pages[run.first];
	size_t count = 1;
	while (count < run.count && first[count].kind == first->kind &&
	       first[count].prot == first->prot &&
	       (first[count].flags & ~FLAG_FREED) == (first->flags & ~FLAG_FREED))
		count++;
	run.count = count;
	return run;
}

static void wrong(size_t page, const char *what)
{
	size_t offset = 0;
	while (offset < PAGE - 1 && address_of(page)[offset] == model_of(page)[offset])
		offset++;
	fail("operation %llu, %s: page %zu (%p) offset %zu is %#x, in the model %#x (kind %d, "
	     "flags %d)",
	     (unsigned long long)operation, what, page, (void *)address_of(page), offset,
	     address_of(page)[offset], model_of(page)[offset], pages[page].kind, pages[page].flags);
}

void page_check(size_t page, const char *what)
{
	struct page *state = &pages[page];
	if (state->kind == PAGE_NONE || !(state->prot & PROT_READ))
		return;
	if (state->flags & FLAG_FREED && bytes_are_zero(address_of(page), PAGE)) {
		/* Once zeros were seen the old bytes may not come back. */
		memset(model_of(page), 0, PAGE);
		state->flags &= (uint8_t)~FLAG_FREED;
	}
	if (memcmp(address_of(page), model_of(page), PAGE) != 0)
		wrong(page, what);
}

void run_check(struct run run, const char *what)
{
	for (size_t page = run.first; page < run.first + run.count; page++)
		page_check(page, what);
}

void page_write(size_t page)
{
	struct page *state = &pages[page];
	if (state->kind == PAGE_NONE || !(state->prot & PROT_WRITE))
		return;
	if (random_below(&dice, 2) == 0) {
		words_fill(model_of(page), PAGE, operation * 1000 + page, seed);
		memcpy(address_of(page), model_of(page), PAGE);
		state->flags &= (uint8_t)~FLAG_FREED;
		return;
	}
	size_t word = random_below(&dice, WORDS_A_PAGE);
	uint64_t value = pattern(word, operation, seed);
	((volatile uint64_t *)address_of(page))[word] = value;
	((uint64_t *)model_of(page))[word] = value;
	if (state->flags & FLAG_FREED && memcmp(address_of(page), model_of(page), PAGE) != 0) {
		/* It was freed before this write: all other words are zeros. */
		memset(model_of(page), 0, PAGE);
		((uint64_t *)model_of(page))[word] = value;
	}
	state->flags &= (uint8_t)~FLAG_FREED;
	page_check(page, "after a write");
}

void run_set(struct run run, enum page_kind kind, int prot)
{
	for (size_t page = run.first; page < run.first + run.count; page++)
		pages[page] = (struct page){ .kind = (uint8_t)kind, .prot = (uint8_t)prot };
}

static int prot_random(void)
{
	static const int choices[] = {
		PROT_NONE,
		PROT_READ,
		PROT_READ | PROT_EXEC,
		PROT_READ | PROT_WRITE | PROT_EXEC,
	};
	if (random_below(&dice, 3) != 0)
		return PROT_READ | PROT_WRITE;
	return choices[random_below(&dice, 4)];
}

void map_at(struct run run, int prot, int flags, int fd, size_t file_page)
{
	void *got = mmap(address_of(run.first), run.count * PAGE, prot, flags | MAP_FIXED, fd,
			 (off_t)(file_page * PAGE));
	if (got != address_of(run.first))
		fail("operation %llu: mmap fixed at %p of %zu pages gave %p: %s",
		     (unsigned long long)operation, (void *)address_of(run.first), run.count, got,
		     strerror(errno));
}

static void operation_map(void)
{
	static const int extra[] = { 0, 0, MAP_NORESERVE, MAP_POPULATE, MAP_STACK };
	struct run run = run_random(random_below(&dice, 10) ? RUN_PAGES_MAX : LONG_RUN_PAGES_MAX);
	int prot = prot_random();
	switch (random_below(&dice, 8)) {
	case 0: {
		if (run.count > FILE_PAGES)
			run.count = FILE_PAGES;
		size_t from = random_below(&dice, FILE_PAGES - run.count + 1);
		map_at(run, prot, MAP_PRIVATE, private_fd, from);
		run_set(run, PAGE_FILE, prot);
		memcpy(model_of(run.first), file_bytes + from * PAGE, run.count * PAGE);
		for (size_t page = 0; page < run.count; page++)
			pages[run.first + page].file_page = (uint32_t)(from + page);
		break;
	}
	case 1:
		map_at(run, prot, MAP_SHARED, shared_fd, run.first);
		run_set(run, PAGE_SHARED, prot);
		CHECK(pread(shared_fd, model_of(run.first), run.count * PAGE,
			    (off_t)(run.first * PAGE)) == (ssize_t)(run.count * PAGE));
		break;
	default:
		map_at(run, prot, MAP_PRIVATE | MAP_ANONYMOUS | extra[random_below(&dice, 5)], -1,
		       0);
		run_set(run, PAGE_ANON, prot);
		memset(model_of(run.first), 0, run.count * PAGE);
	}
}

static void operation_unmap(void)
{
	struct run run = run_random(RUN_PAGES_MAX);
	CHECK(munmap(address_of(run.first), run.count * PAGE) == 0);
	run_set(run, PAGE_NONE, 0);
}

static void operation_protect(void)
{
	struct run run = run_uniform(run_random(RUN_PAGES_MAX));
	if (pages[run.first].kind == PAGE_NONE)
		return;
	int prot = prot_random();
	CHECK(mprotect(address_of(run.first), run.count * PAGE, prot) == 0);
	for (size_t page = run.first; page < run.first + run.count; page++)
		pages[page].prot = (uint8_t)prot;
}

static void operation_write(void)
{
	struct run run = run_random(random_below(&dice, 30) ? RUN_PAGES_MAX : LONG_RUN_PAGES_MAX);
	for (size_t page = run.first; page < run.first + run.count; page++)
		page_write(page);
}

static void operation_check(void)
{
	run_check(run_random(LONG_RUN_PAGES_MAX), "check");
}

static void operation_probe(void)
{
	size_t page = random_below(&dice, page_count);
	const struct page *state = &pages[page];
	uint8_t *byte = address_of(page) + random_below(&dice, PAGE);
	bool readable = state->kind != PAGE_NONE && state->prot & PROT_READ;
	bool writable = state->kind != PAGE_NONE && state->prot & PROT_WRITE;
	int got = probe(byte, false);
	if (got != (readable ? 0 : SIGSEGV))
		fail("operation %llu: a read of page %zu (kind %d prot %d) gave signal %d",
		     (unsigned long long)operation, page, state->kind, state->prot, got);
	got = probe(byte, true);
	if (got != (writable ? 0 : SIGSEGV))
		fail("operation %llu: a write to page %zu (kind %d prot %d) gave signal %d",
		     (unsigned long long)operation, page, state->kind, state->prot, got);
	page_check(page, "after a probe");
}

/* read(2) and write(2) on the same pages, by a pipe. */
static void operation_pipe(void)
{
	static int ends[2] = { -1, -1 };
	if (ends[0] < 0)
		CHECK(pipe2(ends, O_CLOEXEC) == 0);
	struct run run = run_uniform(run_random(8));
	const struct page *state = &pages[run.first];
	size_t bytes = run.count * PAGE;
	bool readable = state->kind != PAGE_NONE && state->prot & PROT_READ;
	bool writable = state->kind != PAGE_NONE && state->prot & PROT_WRITE;
	run_check(run, "before a pipe"); /* settles MADV_FREE only where zeros show */
	for (size_t page = run.first; page < run.first + run.count; page++)
		if (pages[page].flags & FLAG_FREED)
			return;
	errno = 0;
	ssize_t got = write(ends[1], address_of(run.first), bytes);
	if (!readable) {
		CHECK(got == -1 && errno == EFAULT);
		return;
	}
	CHECK(got == (ssize_t)bytes);
	if (!writable) {
		errno = 0;
		CHECK(read(ends[0], address_of(run.first), bytes) == -1 && errno == EFAULT);
		run_check(run, "after a refused read");
		static uint8_t drain[RUN_PAGES_MAX * PAGE];
		CHECK(read(ends[0], drain, bytes) > 0);
		return;
	}
	memset(address_of(run.first), 0xee, bytes);
	CHECK(read(ends[0], address_of(run.first), bytes) == (ssize_t)bytes);
	run_check(run, "after a pipe");
}

static void advise(struct run run, int advice, bool must)
{
	int result = madvise(address_of(run.first), run.count * PAGE, advice);
	if (result != 0 && must)
		fail("operation %llu: madvise %d of page %zu (kind %d) count %zu: %s",
		     (unsigned long long)operation, advice, run.first, pages[run.first].kind,
		     run.count, strerror(errno));
}

static void forget(struct run run)
{
	for (size_t page = run.first; page < run.first + run.count; page++) {
		if (pages[page].kind == PAGE_ANON)
			memset(model_of(page), 0, PAGE);
		else if (pages[page].kind == PAGE_FILE)
			memcpy(model_of(page), file_bytes + pages[page].file_page * PAGE, PAGE);
		pages[page].flags &= (uint8_t)~FLAG_FREED;
	}
}

static void flag(struct run run, uint8_t set, uint8_t clear)
{
	for (size_t page = run.first; page < run.first + run.count; page++)
		pages[page].flags = (uint8_t)((pages[page].flags | set) & ~clear);
}

static void operation_advise(void)
{
	static const int harmless[] = {
		MADV_NORMAL,   MADV_SEQUENTIAL, MADV_RANDOM,	   MADV_WILLNEED,
		MADV_COLD,     MADV_PAGEOUT,	MADV_HUGEPAGE,	   MADV_NOHUGEPAGE,
		MADV_DONTDUMP, MADV_DODUMP,	25 /* COLLAPSE */,
	};
	struct run run = run_uniform(run_random(RUN_PAGES_MAX));
	const struct page *first = &pages[run.first];
	if (first->kind == PAGE_NONE)
		return;
	bool anon = first->kind == PAGE_ANON;
	switch (random_below(&dice, 9)) {
	case 0:
	case 1:
		advise(run, MADV_DONTNEED, true);
		forget(run);
		break;
	case 2:
		if (anon) {
			advise(run, MADV_FREE, true);
			flag(run, FLAG_FREED, 0);
		}
		break;
	case 3:
		if (first->prot & PROT_READ)
			advise(run, 22 /* MADV_POPULATE_READ */, true);
		break;
	case 4:
		if (first->prot & PROT_WRITE) {
			run_check(run, "before populate"); /* it may count as a write */
			advise(run, 23 /* MADV_POPULATE_WRITE */, true);
		}
		break;
	case 5:
		advise(run, MADV_DONTFORK, true);
		flag(run, FLAG_NOT_FORKED, 0);
		advise(run, MADV_DOFORK, true);
		flag(run, 0, FLAG_NOT_FORKED);
		if (random_below(&dice, 2)) {
			advise(run, MADV_DONTFORK, true);
			flag(run, FLAG_NOT_FORKED, 0);
		}
		break;
	case 6:
		if (anon && random_below(&dice, 2)) {
			advise(run, MADV_WIPEONFORK, true);
			flag(run, FLAG_WIPED, 0);
		} else if (anon) {
			advise(run, MADV_KEEPONFORK, true);
			flag(run, 0, FLAG_WIPED);
		}
		break;
	default:
		advise(run, harmless[random_below(&dice, 11)], false);
	}
}

static void operation_lock(void)
{
	struct run run = run_uniform(run_random(16));
	if (pages[run.first].kind == PAGE_NONE || !(pages[run.first].prot & PROT_WRITE))
		return;
	run_check(run, "before mlock");
	for (size_t page = run.first; page < run.first + run.count; page++)
		pages[page].flags &= (uint8_t)~FLAG_FREED;
	/* mlock may count as a write, so settle MADV_FREE by one. */
	for (size_t page = run.first; page < run.first + run.count; page++) {
		words_fill(model_of(page), PAGE, operation, seed);
		memcpy(address_of(page), model_of(page), PAGE);
	}
	CHECK(mlock(address_of(run.first), run.count * PAGE) == 0);
	run_check(run, "locked");
	CHECK(munlock(address_of(run.first), run.count * PAGE) == 0);
	run_check(run, "unlocked");
}

static void set_up(const struct arguments *arguments)
{
	page_count = arguments->bytes / PAGE;
	seed = arguments->seed;
	dice.state = mix(seed);
	model = map_model(page_count * PAGE);
	pages = map_model(page_count * sizeof(struct page));
	model_copy = map_model(page_count * PAGE);
	pages_copy = map_model(page_count * sizeof(struct page));
	file_bytes = map_model(FILE_PAGES * PAGE);
	words_fill(file_bytes, FILE_PAGES * PAGE, 77, seed);
	private_fd = temporary_file(0);
	CHECK(private_fd >= 0);
	CHECK(write(private_fd, file_bytes, FILE_PAGES * PAGE) == (ssize_t)(FILE_PAGES * PAGE));
	shared_fd = memfd_create("shared", MFD_CLOEXEC);
	CHECK(shared_fd >= 0 && ftruncate(shared_fd, (off_t)(page_count * PAGE)) == 0);
	/* A fence on both sides, or a mapping could begin inside the arena and end outside. */
	arena = (uint8_t *)map_anonymous(page_count * PAGE + 2 * PAGE) + PAGE;
	CHECK(mprotect(arena - PAGE, PAGE, PROT_NONE) == 0);
	CHECK(mprotect(address_of(page_count), PAGE, PROT_NONE) == 0);
	run_set((struct run){ 0, page_count }, PAGE_ANON, PROT_READ | PROT_WRITE);
	for (size_t page = 0; page < page_count; page++)
		page_write(page);
}

int main(int argc, char **argv)
{
	struct arguments arguments = arguments_parse(argc, argv);
	void (*const operations[])(void) = {
		operation_map,	 operation_unmap,   operation_protect, operation_write,
		operation_write, operation_write,   operation_check,   operation_probe,
		operation_pipe,	 operation_advise,  operation_advise,  operation_lock,
		operation_remap, operation_protect, operation_map,     operation_remap,
	};
	set_up(&arguments);
	uint64_t limit = arguments.bytes / MIB * OPERATIONS_PER_MIB;
	for (operation = 1; operation <= limit; operation++) {
		if (operation % (limit / 6) == 0)
			operation_fork();
		operations[random_below(&dice, sizeof(operations) / sizeof(*operations))]();
	}
	run_check((struct run){ 0, page_count }, "at the end");
	puts("ok");
	return 0;
}
