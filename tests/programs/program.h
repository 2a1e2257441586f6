/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_PROGRAM_H
#define PROGRAMS_PROGRAM_H

/*
 * What the test programs share: arguments, random numbers, a pattern that no wrong page matches by
 * chance, probes for SIGSEGV, and ballast that pushes everything else out of local memory.
 *
 * The programs know nothing of Perdure. Each one must pass natively (that is its control) and then
 * under `perdure run`. Each takes SIZE in MiB and a seed, prints one line when something is wrong,
 * and exits 0, 1, or 77 for a skip.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define MIB (1ul << 20)
#define WORDS_A_PAGE (PAGE / sizeof(uint64_t))

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
	char line[512];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length] = '\n';
	if (write(STDERR_FILENO, line, (size_t)length + 1) < 0)
		_exit(1);
	_exit(1);
}

__attribute__((noreturn)) static inline void skip(const char *missing)
{
	dprintf(STDERR_FILENO, "skipped: %s\n", missing);
	_exit(77);
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail("%s:%d: %s (errno %d: %s)", __FILE__, __LINE__, #condition, errno,    \
			     strerror(errno));                                                     \
	} while (0)

/* splitmix64's finaliser: every bit of the input reaches every bit of the output. */
static inline uint64_t mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15ull;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
	return value ^ (value >> 31);
}

static inline uint64_t pattern(uint64_t index, uint64_t generation, uint64_t seed)
{
	return mix(index + mix(generation + mix(seed)));
}

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
	return mix(random->state++);
}

static inline uint64_t random_below(struct random *random, uint64_t limit)
{
	return random_next(random) % limit;
}

/* Small values are as likely as large ones: uniform in the number of bits. */
static inline uint64_t random_skewed(struct random *random, uint64_t limit)
{
	int bits = 64 - __builtin_clzll(limit);
	uint64_t mask = (1ull << (1 + random_below(random, (uint64_t)bits))) - 1;
	return (random_next(random) & mask) % limit;
}

struct arguments {
	uint64_t bytes;
	uint64_t seed;
};

static inline struct arguments arguments_parse(int argc, char **argv)
{
	struct arguments arguments = { .bytes = 32 * MIB, .seed = 1 };
	if (argc > 1)
		arguments.bytes = strtoull(argv[1], NULL, 10) * MIB;
	if (argc > 2)
		arguments.seed = strtoull(argv[2], NULL, 10);
	if (arguments.bytes < 4 * MIB) {
		dprintf(STDERR_FILENO, "usage: %s [SIZE in MiB, at least 4 [SEED [PART]]]\n",
			argv[0]);
		_exit(2);
	}
	return arguments;
}

/* True when the user named no part (argv[3]) or this one. */
static inline bool part_wanted(int argc, char **argv, const char *part)
{
	return argc <= 3 || strcmp(argv[3], part) == 0;
}

/* `bytes` need not be a multiple of a word. */
static inline void words_fill(void *memory, size_t bytes, uint64_t generation, uint64_t seed)
{
	uint8_t *at = memory;
	size_t index = 0;
	for (; (index + 1) * 8 <= bytes; index++) {
		uint64_t word = pattern(index, generation, seed);
		memcpy(at + index * 8, &word, 8);
	}
	uint64_t word = pattern(index, generation, seed);
	memcpy(at + index * 8, &word, bytes - index * 8);
}

/* The offset of the first wrong word, or SIZE_MAX. */
static inline size_t words_differ(const void *memory, size_t bytes, uint64_t generation,
				  uint64_t seed)
{
	const uint8_t *at = memory;
	for (size_t index = 0; index * 8 < bytes; index++) {
		uint64_t word = pattern(index, generation, seed);
		size_t count = bytes - index * 8 < 8 ? bytes - index * 8 : 8;
		if (memcmp(at + index * 8, &word, count) != 0)
			return index * 8;
	}
	return SIZE_MAX;
}

static inline void words_check(const void *memory, size_t bytes, uint64_t generation, uint64_t seed,
			       const char *what)
{
	size_t offset = words_differ(memory, bytes, generation, seed);
	if (offset == SIZE_MAX)
		return;
	uint64_t found = 0;
	memcpy(&found, (const uint8_t *)memory + offset, bytes - offset < 8 ? bytes - offset : 8);
	fail("%s: %p+%#zx of %#zx: found %#llx, expected %#llx (generation %llu, pid %d)", what,
	     memory, offset, bytes, (unsigned long long)found,
	     (unsigned long long)pattern(offset / 8, generation, seed),
	     (unsigned long long)generation, (int)getpid());
}

static inline bool bytes_are_zero(const void *memory, size_t bytes)
{
	const uint8_t *at = memory;
	return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

static inline void *map_anonymous(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap of %zu bytes: %s", bytes, strerror(errno));
	return memory;
}

/* A file mapping, shared: no far memory layer for anonymous private memory may touch it. */
static inline void *map_model(size_t bytes)
{
	int fd = memfd_create("model", MFD_CLOEXEC);
	CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(memory != MAP_FAILED);
	close(fd);
	return memory;
}

/* A file in TMPDIR without a name. */
static inline int temporary_file(int flags)
{
	const char *folder = getenv("TMPDIR");
	char name[256];
	snprintf(name, sizeof(name), "%s/perdure-program-XXXXXX", folder ? folder : "/tmp");
	int fd = mkostemp(name, flags | O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	return fd;
}

/*
 * Ballast is memory whose only purpose is to be touched, so that other memory is pushed out. It
 * is checked while it is touched.
 */
struct ballast {
	uint64_t *words;
	size_t pages;
	uint64_t generation;
};

static inline struct ballast ballast_make(size_t bytes)
{
	struct ballast ballast = { .words = map_anonymous(bytes), .pages = bytes / PAGE };
	for (size_t page = 0; page < ballast.pages; page++)
		ballast.words[page * WORDS_A_PAGE] = page;
	return ballast;
}

static inline void ballast_press(struct ballast *ballast)
{
	for (size_t page = 0; page < ballast->pages; page++) {
		uint64_t *word = ballast->words + page * WORDS_A_PAGE;
		if (*word != page + ballast->generation)
			fail("ballast page %zu: found %llu, expected %llu", page,
			     (unsigned long long)*word,
			     (unsigned long long)(page + ballast->generation));
		/* A changed page has to be stored again before it can be dropped. */
		*word = page + ballast->generation + 1;
	}
	ballast->generation++;
}

/* Probes: does a touch of this byte give SIGSEGV (or SIGBUS)? */
static sigjmp_buf probe_return;
static volatile sig_atomic_t probe_signal;
static void *volatile probe_address;

static inline void probe_handler(int number, siginfo_t *info, void *context)
{
	(void)context;
	probe_signal = number;
	probe_address = info->si_addr;
	siglongjmp(probe_return, 1);
}

/* 0 when the touch went well, else the signal's number. */
static inline int probe(volatile uint8_t *byte, bool write_too)
{
	struct sigaction action = { .sa_sigaction = probe_handler, .sa_flags = SA_SIGINFO };
	struct sigaction before_segv, before_bus;
	sigaction(SIGSEGV, &action, &before_segv);
	sigaction(SIGBUS, &action, &before_bus);
	probe_signal = 0;
	if (sigsetjmp(probe_return, 1) == 0) {
		uint8_t value = *byte;
		if (write_too)
			*byte = value;
	} else if (probe_address != (void *)byte) {
		fail("signal %d at %p, but %p was touched", (int)probe_signal, probe_address,
		     (void *)byte);
	}
	sigaction(SIGSEGV, &before_segv, NULL);
	sigaction(SIGBUS, &before_bus, NULL);
	return probe_signal;
}

/* Waits for a child and checks that it ended well. */
static inline void child_check(pid_t pid, const char *what)
{
	int status = 0;
	if (pid < 0)
		fail("%s: fork: %s", what, strerror(errno));
	pid_t got;
	do {
		got = waitpid(pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	if (got != pid)
		fail("%s: waitpid: %s", what, strerror(errno));
	if (WIFSIGNALED(status))
		fail("%s: child killed by signal %d", what, WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		fail("%s: child exited with %d", what, WEXITSTATUS(status));
}

#endif
