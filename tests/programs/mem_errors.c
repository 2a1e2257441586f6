/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what the mapping calls answer to bad and odd arguments, one line a call. The test compares
 * the table of a native run with that of a run with far memory: they must be equal.
 */
#include "program.h"

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static uint8_t *memory; /* 16 pages; page 8 is a hole */

static void say(const char *call, bool good)
{
	printf("%s: %s\n", call, good ? "ok" : strerrorname_np(errno));
}

/* The call's own text is its name in the table; each finds the memory as reset() leaves it. */
#define SAY_INT(call) (reset(), errno = 0, say(#call, (call) == 0))
#define SAY_MAP(call, bytes) say_map(#call, (reset(), errno = 0, (call)), (bytes))

static void say_map(const char *call, void *got, size_t bytes)
{
	say(call, got != MAP_FAILED);
	if (got != MAP_FAILED && ((uint8_t *)got < memory || (uint8_t *)got >= memory + 16 * PAGE))
		munmap(got, bytes);
}

static void reset(void)
{
	munlock(memory, 16 * PAGE);
	CHECK(mmap(memory, 16 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == memory);
	CHECK(munmap(memory + 8 * PAGE, PAGE) == 0);
}

static void errors_of_map(void)
{
	SAY_MAP(mmap(NULL, 0, RW, ANON, -1, 0), 0);
	SAY_MAP(mmap(NULL, SIZE_MAX, RW, ANON, -1, 0), 0);
	SAY_MAP(mmap(NULL, SIZE_MAX - PAGE, RW, ANON, -1, 0), 0);
	SAY_MAP(mmap(NULL, 1ul << 47, RW, ANON, -1, 0), 0);
	SAY_MAP(mmap(NULL, 100, RW, ANON, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_SHARED | MAP_ANONYMOUS, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, MAP_PRIVATE, 9999, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, ANON, 9999, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, ANON, -1, 1), PAGE);
	SAY_MAP(mmap(NULL, PAGE, RW, ANON, -1, PAGE), PAGE);
	SAY_MAP(mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, 0x100, ANON, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, PAGE, PROT_WRITE, ANON, -1, 0), PAGE);
	SAY_MAP(mmap(NULL, 4 * MIB, RW, ANON | MAP_HUGETLB, -1, 0), 4 * MIB);
	SAY_MAP(mmap(memory + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0), PAGE);
	SAY_MAP(mmap(memory + 1, PAGE, RW, ANON, -1, 0), PAGE);
	SAY_MAP(mmap(memory, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), PAGE);
	SAY_MAP(mmap(memory + 7 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), PAGE);
	SAY_MAP(mmap(memory + 8 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), PAGE);
	SAY_MAP(mmap((void *)(1ul << 47), PAGE, RW, ANON | MAP_FIXED, -1, 0), PAGE);
	SAY_MAP(mmap((void *)(~0ul << 12), PAGE, RW, ANON | MAP_FIXED, -1, 0), PAGE);
	SAY_MAP(mmap(memory, SIZE_MAX & ~(PAGE - 1), RW, ANON | MAP_FIXED, -1, 0), PAGE);
}

static void errors_of_unmap_and_protect(void)
{
	SAY_INT(munmap(memory + 1, PAGE));
	SAY_INT(munmap(memory, 0));
	SAY_INT(munmap(memory, SIZE_MAX));
	SAY_INT(munmap((void *)(~0ul << 12), PAGE));
	SAY_INT(munmap(memory + 8 * PAGE, PAGE));
	SAY_INT(munmap(memory + 7 * PAGE, 3 * PAGE));
	SAY_INT(munmap(memory + 12 * PAGE, 1));
	reset();
	SAY_INT(mprotect(memory + 1, PAGE, RW));
	SAY_INT(mprotect(memory, 0, RW));
	SAY_INT(mprotect(memory, 1, RW));
	SAY_INT(mprotect(memory, PAGE, 0x100));
	SAY_INT(mprotect(memory, PAGE, RW | PROT_GROWSUP | PROT_GROWSDOWN));
	SAY_INT(mprotect(memory, PAGE, RW | PROT_GROWSDOWN));
	SAY_INT(mprotect(memory + 8 * PAGE, PAGE, RW));
	SAY_INT(mprotect(memory + 7 * PAGE, 3 * PAGE, PROT_READ));
	SAY_INT(mprotect(memory + 7 * PAGE, 3 * PAGE, PROT_READ) + probe(memory + 7 * PAGE, true));
	SAY_INT(mprotect(memory + 7 * PAGE, 3 * PAGE, PROT_READ) + probe(memory + 9 * PAGE, true));
	SAY_INT(munmap(memory + 7 * PAGE, 3 * PAGE) + probe(memory + 9 * PAGE, false));
	SAY_INT(munmap(memory + 12 * PAGE, 1) + probe(memory + 12 * PAGE, false));
	SAY_INT(mprotect(memory, SIZE_MAX, RW));
	SAY_INT(mprotect((void *)(1ul << 47), PAGE, RW));
}

static void errors_of_remap(void)
{
	SAY_MAP(mremap(memory + 1, PAGE, PAGE, 0), PAGE);
	SAY_MAP(mremap(memory, PAGE, 0, 0), PAGE);
	SAY_MAP(mremap(memory, PAGE, 0, MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory, 0, PAGE, MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory, PAGE, PAGE, 0), PAGE);
	SAY_MAP(mremap(memory, PAGE, PAGE, 64), PAGE);
	SAY_MAP(mremap(memory, PAGE, PAGE, MREMAP_FIXED, memory + 4 * PAGE), PAGE);
	SAY_MAP(mremap(memory, PAGE, PAGE, MREMAP_DONTUNMAP), PAGE);
	SAY_MAP(mremap(memory, PAGE, 2 * PAGE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory + 1), PAGE);
	SAY_MAP(mremap(memory, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory), PAGE);
	SAY_MAP(mremap(memory, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory + PAGE),
		PAGE);
	SAY_MAP(mremap(memory + 8 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory + 8 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory, PAGE, 2 * PAGE, 0), PAGE);
	SAY_MAP(mremap(memory, PAGE, SIZE_MAX, MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory, PAGE, 1ul << 47, MREMAP_MAYMOVE), PAGE);
	SAY_MAP(mremap(memory + 6 * PAGE, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE), 6 * PAGE);
	SAY_MAP(mremap(memory + 6 * PAGE, 2 * PAGE, 3 * PAGE, 0), PAGE);
	SAY_MAP(mremap(memory, 2 * PAGE, PAGE, 0), PAGE);
	SAY_INT((mremap(memory, 2 * PAGE, PAGE, 0) == memory) - 1 + probe(memory + PAGE, false));
}

static void advise_all(void)
{
	static const struct {
		const char *name;
		int advice;
	} advices[] = {
		{ "NORMAL", 0 },
		{ "RANDOM", 1 },
		{ "SEQUENTIAL", 2 },
		{ "WILLNEED", 3 },
		{ "DONTNEED", 4 },
		{ "FREE", 8 },
		{ "REMOVE", 9 },
		{ "DONTFORK", 10 },
		{ "DOFORK", 11 },
		{ "MERGEABLE", 12 },
		{ "UNMERGEABLE", 13 },
		{ "HUGEPAGE", 14 },
		{ "NOHUGEPAGE", 15 },
		{ "DONTDUMP", 16 },
		{ "DODUMP", 17 },
		{ "WIPEONFORK", 18 },
		{ "KEEPONFORK", 19 },
		{ "COLD", 20 },
		{ "PAGEOUT", 21 },
		{ "POPULATE_READ", 22 },
		{ "POPULATE_WRITE", 23 },
		{ "DONTNEED_LOCKED", 24 },
		{ "5", 5 },
		{ "-1", -1 },
		{ "999", 999 },
	};
	for (size_t index = 0; index < sizeof(advices) / sizeof(*advices); index++) {
		int advice = advices[index].advice;
		printf("madvise %s\n", advices[index].name);
		SAY_INT(madvise(memory, PAGE, advice));
		SAY_INT(madvise(memory, 1, advice));
		SAY_INT(madvise(memory, 0, advice));
		SAY_INT(madvise(memory + 1, PAGE, advice));
		SAY_INT(madvise(memory, SIZE_MAX, advice));
		SAY_INT(madvise(memory + 8 * PAGE, PAGE, advice));
		SAY_INT(madvise(memory + 7 * PAGE, 3 * PAGE, advice));
	}
}

static void errors_of_others(void)
{
	static unsigned char map[32];
	SAY_INT(mincore(memory + 1, PAGE, map));
	SAY_INT(mincore(memory, 0, map));
	SAY_INT(mincore(memory, PAGE, NULL));
	SAY_INT(mincore(memory + 7 * PAGE, 3 * PAGE, map));
	SAY_INT(mincore(memory, SIZE_MAX, map));
	SAY_INT(msync(memory + 1, PAGE, MS_SYNC));
	SAY_INT(msync(memory, PAGE, MS_SYNC | MS_ASYNC));
	SAY_INT(msync(memory, PAGE, 1024));
	SAY_INT(msync(memory + 7 * PAGE, 3 * PAGE, MS_SYNC));
	SAY_INT(msync(memory, 0, MS_SYNC));
	SAY_INT(mlock(memory + 1, 10));
	SAY_INT(munlock(memory + 1, 10));
	SAY_INT(mlock(memory, 0));
	SAY_INT(mlock(memory + 7 * PAGE, 3 * PAGE));
	SAY_INT(munlock(memory + 7 * PAGE, 3 * PAGE));
	SAY_INT(mlock(memory, SIZE_MAX));
	SAY_INT(mlock2(memory, PAGE, 0));
	SAY_INT(mlock2(memory, PAGE, MLOCK_ONFAULT));
	SAY_INT(munlock(memory, PAGE));
	SAY_INT(mlock2(memory, PAGE, 64));
	SAY_INT(mlockall(0));
	SAY_INT(mlockall(64));
	SAY_INT(munlockall());
	SAY_INT(posix_madvise(memory, PAGE, POSIX_MADV_DONTNEED));
	SAY_INT(posix_madvise(memory + 1, PAGE, POSIX_MADV_DONTNEED));
	SAY_INT(posix_madvise(memory, PAGE, 99));
	SAY_INT(remap_file_pages(memory, PAGE, 0, 0, 0));
}

int main(void)
{
	static char buffer[1 << 16]; /* or printf's own might land in the hole */
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	memory = map_anonymous(16 * PAGE);
	errors_of_map();
	errors_of_unmap_and_protect();
	errors_of_remap();
	advise_all();
	errors_of_others();
	return 0;
}
