/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promises of the mapping calls that a random test hardly meets: holes, fences, sparse
 * mappings, code in far pages, write barriers by SIGSEGV, locks and their limits.
 */
#include <sys/resource.h>

#include "program.h"

static struct arguments arguments;
static struct ballast ballast;

static void hole_check(uint8_t *memory, size_t bytes, size_t from, size_t count)
{
	CHECK(munmap(memory + from, count) == 0);
	ballast_press(&ballast);
	for (size_t at = 0; at < bytes; at += PAGE) {
		bool gone = at >= from && at < from + count;
		if (gone)
			CHECK(probe(memory + at, at % (2 * PAGE) == 0) == SIGSEGV);
		else
			words_check(memory + at, PAGE, at, arguments.seed, "beside a hole");
	}
	CHECK(munmap(memory, bytes) == 0);
	CHECK(probe(memory, false) == SIGSEGV && probe(memory + bytes - 1, false) == SIGSEGV);
}

static void holes(void)
{
	size_t bytes = MIB;
	size_t cuts[][2] = { { 0, 5 * PAGE },
			     { bytes - 9 * PAGE, 9 * PAGE },
			     { 33 * PAGE, 40 * PAGE } };
	for (size_t cut = 0; cut < 3; cut++) {
		uint8_t *memory = map_anonymous(bytes);
		for (size_t at = 0; at < bytes; at += PAGE)
			words_fill(memory + at, PAGE, at, arguments.seed);
		hole_check(memory, bytes, cuts[cut][0], cuts[cut][1]);
	}
}

static void replace(void)
{
	size_t bytes = 64 * PAGE;
	uint8_t *memory = map_anonymous(bytes);
	words_fill(memory, bytes, 1, arguments.seed);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	errno = 0;
	CHECK(mmap(memory + 63 * PAGE, 2 * PAGE, PROT_READ, flags, -1, 0) == MAP_FAILED);
	CHECK(errno == EEXIST);
	words_check(memory, bytes, 1, arguments.seed, "after EEXIST");
	CHECK(munmap(memory + 8 * PAGE, 8 * PAGE) == 0);
	CHECK(mmap(memory + 8 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) ==
	      memory + 8 * PAGE);
	CHECK(bytes_are_zero(memory + 8 * PAGE, 8 * PAGE));
	/* A far page must not come back into a mapping that took its place. */
	words_fill(memory, bytes, 2, arguments.seed);
	ballast_press(&ballast);
	CHECK(mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0) == memory);
	CHECK(bytes_are_zero(memory, bytes));
	words_fill(memory, bytes, 3, arguments.seed);
	ballast_press(&ballast);
	CHECK(mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0) == memory);
	CHECK(bytes_are_zero(memory, bytes));
	pid_t pid = fork();
	if (pid == 0) {
		words_fill(memory, bytes, 4, arguments.seed);
		_exit(0);
	}
	child_check(pid, "writer of shared memory");
	words_check(memory, bytes, 4, arguments.seed, "shared with a child");
	CHECK(munmap(memory, bytes) == 0);
}

static void sparse(void)
{
	size_t bytes = 64ul << 30;
	uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(memory != MAP_FAILED);
	struct random random = { arguments.seed };
	for (int step = 0; step < 2000; step++) {
		uint64_t page = random_below(&random, bytes / PAGE);
		words_fill(memory + page * PAGE, 64, page, arguments.seed);
	}
	random.state = arguments.seed;
	for (int step = 0; step < 2000; step++) {
		uint64_t page = random_below(&random, bytes / PAGE);
		words_check(memory + page * PAGE, 64, page, arguments.seed, "sparse");
		CHECK(bytes_are_zero(memory + page * PAGE + 64, PAGE - 64));
	}
	CHECK(madvise(memory, bytes, MADV_DONTNEED) == 0);
	random.state = arguments.seed;
	for (int step = 0; step < 100; step++)
		CHECK(memory[random_below(&random, bytes / PAGE) * PAGE] == 0);
	CHECK(munmap(memory, bytes) == 0);
}

/* Each page gets "mov eax, page; ret", becomes executable, goes far, and is called. */
static void code(void)
{
#ifdef __x86_64__
	uint32_t count = 300;
	uint8_t *memory = map_anonymous(count * PAGE);
	for (uint32_t page = 0; page < count; page++) {
		uint8_t *at = memory + page * PAGE + page;
		at[0] = 0xb8;
		memcpy(at + 1, &page, 4);
		at[5] = 0xc3;
	}
	CHECK(mprotect(memory, count * PAGE, PROT_READ | PROT_EXEC) == 0);
	ballast_press(&ballast);
	for (uint32_t page = 0; page < count; page++) {
		uint32_t (*function)(void);
		uint8_t *at = memory + page * PAGE + page;
		memcpy(&function, &at, sizeof(at));
		CHECK(function() == page);
		CHECK(probe(at, true) == SIGSEGV);
	}
	CHECK(munmap(memory, count * PAGE) == 0);
#endif
}

static uint8_t *barrier_memory;
static volatile sig_atomic_t barrier_hits;

/* What garbage collectors do: note the page, allow the write, go on. */
static void barrier_handler(int number, siginfo_t *info, void *context)
{
	uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~(PAGE - 1));
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
		_exit(3);
	barrier_hits++;
}

static void barrier(void)
{
	size_t count = 1000;
	struct sigaction action = { .sa_sigaction = barrier_handler, .sa_flags = SA_SIGINFO },
			 before;
	barrier_memory = map_anonymous(count * PAGE);
	words_fill(barrier_memory, count * PAGE, 1, arguments.seed);
	CHECK(mprotect(barrier_memory, count * PAGE, PROT_READ) == 0);
	ballast_press(&ballast);
	CHECK(sigaction(SIGSEGV, &action, &before) == 0);
	for (size_t page = 0; page < count; page++)
		((volatile uint8_t *)barrier_memory)[page * PAGE + page] ^= 0x5a;
	CHECK(sigaction(SIGSEGV, &before, NULL) == 0);
	CHECK(barrier_hits == (int)count);
	ballast_press(&ballast);
	for (size_t page = 0; page < count; page++)
		barrier_memory[page * PAGE + page] ^= 0x5a;
	words_check(barrier_memory, count * PAGE, 1, arguments.seed, "behind a write barrier");
	/* No access at all and back: the bytes survive. */
	CHECK(mprotect(barrier_memory, count * PAGE, PROT_NONE) == 0);
	ballast_press(&ballast);
	CHECK(probe(barrier_memory, false) == SIGSEGV);
	CHECK(mprotect(barrier_memory, count * PAGE, PROT_READ) == 0);
	words_check(barrier_memory, count * PAGE, 1, arguments.seed, "after PROT_NONE");
	CHECK(munmap(barrier_memory, count * PAGE) == 0);
}

static void growth(void)
{
	size_t bytes = PAGE;
	uint8_t *memory = map_anonymous(bytes);
	words_fill(memory, bytes, 9, arguments.seed);
	while (bytes * 2 <= arguments.bytes) {
		uint8_t *moved = mremap(memory, bytes, bytes * 2, MREMAP_MAYMOVE);
		CHECK(moved != MAP_FAILED);
		if (moved != memory)
			CHECK(probe(memory, false) == SIGSEGV || memory > moved);
		memory = moved;
		words_check(memory, bytes, 9, arguments.seed, "grown");
		CHECK(bytes_are_zero(memory + bytes, bytes));
		bytes *= 2;
		words_fill(memory, bytes, 9, arguments.seed);
	}
	CHECK(mremap(memory, bytes, bytes / 4, 0) == memory);
	CHECK(probe(memory + bytes / 4, false) == SIGSEGV);
	words_check(memory, bytes / 4, 9, arguments.seed, "shrunk");
	uint8_t *target = map_anonymous(bytes / 4);
	CHECK(mremap(memory, bytes / 4, bytes / 4, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		     target) == target);
	words_check(target, bytes / 4, 9, arguments.seed, "moved, not unmapped");
	CHECK(bytes_are_zero(memory, bytes / 4));
	CHECK(munmap(memory, bytes / 4) == 0 && munmap(target, bytes / 4) == 0);
}

/* Out of the memory that mmap chose to memory at a place of our own, and back. */
static void moves_between_places(void)
{
	size_t bytes = 300 * PAGE, more = 400 * PAGE;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	uint8_t *place = (uint8_t *)0x110000000000ul; /* far from all that the kernel chooses */
	uint8_t *memory = map_anonymous(bytes);
	words_fill(memory, 200 * PAGE, 1, arguments.seed);
	CHECK(mprotect(memory, bytes, PROT_READ) == 0);
	ballast_press(&ballast);
	CHECK(mremap(memory, bytes, more, flags, place) == place);
	CHECK(probe(memory, false) == SIGSEGV && probe(place, true) == SIGSEGV);
	words_check(place, 200 * PAGE, 1, arguments.seed, "moved out");
	CHECK(bytes_are_zero(place + 200 * PAGE, more - 200 * PAGE));
	CHECK(mprotect(place, more, PROT_READ | PROT_WRITE) == 0);
	/* Back over something that was there. */
	memory = map_anonymous(more);
	words_fill(memory, more, 2, arguments.seed);
	ballast_press(&ballast);
	CHECK(mremap(place, more, bytes, flags, memory) == memory);
	CHECK(probe(place, false) == SIGSEGV);
	words_check(memory, 200 * PAGE, 1, arguments.seed, "moved in");
	CHECK(bytes_are_zero(memory + 200 * PAGE, bytes - 200 * PAGE));
	CHECK(munmap(memory, more) == 0);
	/* Moved, but not unmapped: it is there and reads as zeros. */
	memory = map_anonymous(bytes);
	words_fill(memory, bytes, 3, arguments.seed);
	CHECK(mremap(memory, bytes, bytes, flags | MREMAP_DONTUNMAP, place) == place);
	words_check(place, bytes, 3, arguments.seed, "moved out, not unmapped");
	CHECK(bytes_are_zero(memory, bytes));
	CHECK(munmap(memory, bytes) == 0);
	errno = 0;
	CHECK(mremap(place, bytes, bytes, flags, (uint8_t *)map_anonymous(PAGE) + 1) == MAP_FAILED);
	CHECK(errno == EINVAL);
	words_check(place, bytes, 3, arguments.seed, "after EINVAL");
	CHECK(munmap(place, bytes) == 0);
}

static void odd_places(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	size_t bytes = 256 * PAGE;
	uint8_t *low = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_32BIT, -1, 0);
	CHECK(low != MAP_FAILED && (uintptr_t)low + bytes <= 1ul << 32);
	uint8_t *wish = (uint8_t *)0x100000000000ul; /* far from all that the kernel chooses */
	uint8_t *fixed = mmap(wish, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
	CHECK(fixed == wish);
	uint8_t *stack =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_GROWSDOWN | MAP_STACK, -1, 0);
	CHECK(stack != MAP_FAILED);
	uint8_t *heap = sbrk((intptr_t)bytes);
	CHECK(heap != (void *)-1);
	uint8_t *all[] = { low, fixed, stack, heap };
	for (size_t index = 0; index < 4; index++)
		words_fill(all[index], bytes, index, arguments.seed);
	ballast_press(&ballast);
	for (size_t index = 0; index < 4; index++)
		words_check(all[index], bytes, index, arguments.seed, "odd place");
	CHECK(munmap(low, bytes) == 0 && munmap(fixed, bytes) == 0 && munmap(stack, bytes) == 0);
}

static void locks(void)
{
	size_t bytes = 64 * PAGE;
	uint8_t *locked = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	CHECK(locked != MAP_FAILED);
	words_fill(locked, bytes, 5, arguments.seed);
	ballast_press(&ballast);
	unsigned char resident[64];
	CHECK(mincore(locked, bytes, resident) == 0);
	for (size_t page = 0; page < 64; page++)
		CHECK(resident[page] & 1);
	errno = 0;
	CHECK(madvise(locked, bytes, MADV_DONTNEED) == -1 && errno == EINVAL);
	words_check(locked, bytes, 5, arguments.seed, "locked");
	CHECK(munlock(locked, bytes) == 0);
	CHECK(madvise(locked, bytes, MADV_DONTNEED) == 0 && bytes_are_zero(locked, bytes));
	CHECK(munmap(locked, bytes) == 0);
	/* More than fits: yes or ENOMEM, but an answer, and the program goes on. */
	int result = mlock(ballast.words, ballast.pages * PAGE);
	CHECK(result == 0 || errno == ENOMEM || errno == EAGAIN);
	ballast_press(&ballast);
	CHECK(munlock(ballast.words, ballast.pages * PAGE) == 0);
	ballast_press(&ballast);
}

/* Small locks that together are too much, until one is refused: the program goes on. */
static void many_locks(void)
{
	size_t bytes = ballast.pages * PAGE / 32;
	uint8_t *memory = (uint8_t *)ballast.words;
	size_t part = 0;
	while (part < 32 && mlock(memory + part * bytes, bytes) == 0)
		part++;
	CHECK(part == 32 || errno == ENOMEM || errno == EAGAIN);
	CHECK(part > 0 && mlock(memory, bytes) == 0); /* again costs nothing more */
	ballast_press(&ballast);
	uint8_t *grown = map_anonymous(bytes);
	CHECK(mlock(grown, bytes) == 0 || errno == ENOMEM || errno == EAGAIN);
	grown = mremap(grown, bytes, 4 * bytes, MREMAP_MAYMOVE);
	CHECK(grown != MAP_FAILED || errno == EAGAIN);
	ballast_press(&ballast);
	CHECK(munlock(memory, ballast.pages * PAGE) == 0);
	CHECK(grown == MAP_FAILED || munmap(grown, 4 * bytes) == 0);
	ballast_press(&ballast);
}

/* Advice about when pages go changes nothing of what they hold, whatever their protection. */
static void cold(void)
{
	static const int advices[] = { MADV_COLD, MADV_PAGEOUT };
	static const int protections[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };
	size_t bytes = 512 * PAGE;
	uint8_t *memory = map_anonymous(bytes);
	for (size_t index = 0; index < 6; index++) {
		words_fill(memory, bytes, index, arguments.seed);
		CHECK(mprotect(memory, bytes, protections[index / 2]) == 0);
		CHECK(madvise(memory, bytes, advices[index % 2]) == 0);
		CHECK(madvise(memory, bytes, advices[index % 2]) == 0);
		CHECK(mprotect(memory, bytes, PROT_READ | PROT_WRITE) == 0);
		words_check(memory, bytes, index, arguments.seed, "advised to go");
	}
	CHECK(mlock(memory + 8 * PAGE, PAGE) == 0);
	for (size_t index = 0; index < 2; index++) {
		errno = 0;
		CHECK(madvise(memory, bytes, advices[index]) == -1 && errno == EINVAL);
	}
	words_check(memory, bytes, 5, arguments.seed, "beside a lock");
	CHECK(munlock(memory + 8 * PAGE, PAGE) == 0);
	CHECK(munmap(memory, bytes) == 0);
}

static void lock_limit(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit limit = { 65536, 65536 };
		CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
		if (geteuid() == 0)
			CHECK(setresuid(65534, 65534, 65534) == 0);
		uint8_t *memory = map_anonymous(MIB);
		words_fill(memory, MIB, 6, arguments.seed);
		errno = 0;
		CHECK(mlock(memory, MIB) == -1 && (errno == ENOMEM || errno == EPERM));
		words_check(memory, MIB, 6, arguments.seed, "after a refused lock");
		CHECK(mlock(memory, PAGE) == 0 || errno == ENOMEM);
		ballast_press(&ballast);
		_exit(0);
	}
	child_check(pid, "lock limit");
}

static void lock_all(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		int result = mlockall(MCL_CURRENT | MCL_FUTURE);
		CHECK(result == 0 || errno == ENOMEM || errno == EAGAIN || errno == EPERM);
		uint8_t *memory =
			mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(memory != MAP_FAILED || errno == EAGAIN);
		ballast_press(&ballast);
		CHECK(munlockall() == 0);
		ballast_press(&ballast);
		_exit(0);
	}
	child_check(pid, "mlockall");
}

static void resident(void)
{
	size_t bytes = 16 * PAGE;
	unsigned char map[16];
	uint8_t *memory = map_anonymous(bytes);
	words_fill(memory, bytes, 8, arguments.seed);
	CHECK(mincore(memory, bytes, map) == 0);
	ballast_press(&ballast);
	CHECK(mincore(memory, bytes, map) == 0);
	words_check(memory, bytes, 8, arguments.seed, "after mincore");
	CHECK(msync(memory, bytes, MS_SYNC) == 0 && msync(memory, bytes, MS_ASYNC) == 0);
	CHECK(munmap(memory + 4 * PAGE, PAGE) == 0);
	errno = 0;
	CHECK(mincore(memory, bytes, map) == -1 && errno == ENOMEM);
	errno = 0;
	CHECK(msync(memory, bytes, MS_SYNC) == -1 && errno == ENOMEM);
	CHECK(munmap(memory, bytes) == 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "holes", holes },	      { "replace", replace },
		{ "sparse", sparse },	      { "code", code },
		{ "barrier", barrier },	      { "growth", growth },
		{ "odd_places", odd_places }, { "resident", resident },
		{ "locks", locks },	      { "lock_limit", lock_limit },
		{ "lock_all", lock_all },     { "cold", cold },
		{ "many_locks", many_locks },
		{ "moves_between_places", moves_between_places },
	};
	arguments = arguments_parse(argc, argv);
	ballast = ballast_make(arguments.bytes);
	for (size_t part = 0; part < sizeof(parts) / sizeof(*parts); part++)
		if (part_wanted(argc, argv, parts[part].name))
			parts[part].run();
	ballast_press(&ballast);
	puts("ok");
	return 0;
}
