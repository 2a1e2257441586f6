/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads on one arena of SIZE MiB: writers that own lines of every page between them, readers of
 * everything, threads that come and go on stacks in the arena's kind of memory, and a timer signal
 * whose handlers touch memory on alternate stacks from malloc.
 *
 * A word holds its own generation in the low 16 bits and a hash of index and generation above
 * them, so that any thread can judge any word at any time. Only its owner knows the newest.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "program.h"

#define WRITERS 4
#define READERS 2
#define LINE_WORDS 8
#define TALLY_PAGES 2048
#define CHURN_THREADS 200
#define CHURN_STACK_BYTES (64 * 1024ul)
#define ALTERNATE_STACK_BYTES (64 * 1024ul)

static struct arguments arguments;
static _Atomic uint64_t *words;
static size_t line_count;
static _Atomic uint64_t *tally; /* one counter a page, raised by the signal handlers */
static _Atomic uint64_t signals_taken;
static _Atomic bool over;

struct writer {
	pthread_t thread;
	uint32_t number;
	uint64_t writes;
	uint16_t *generations; /* of the lines that are its own, by line / WRITERS */
};

static uint64_t word_of(uint64_t index, uint16_t generation)
{
	return pattern(index, generation, arguments.seed) << 16 | generation;
}

static void word_check(uint64_t index)
{
	uint64_t found = atomic_load_explicit(&words[index], memory_order_relaxed);
	if (found != word_of(index, (uint16_t)found))
		fail("word %llu at %p is %#llx, which nobody wrote", (unsigned long long)index,
		     (void *)&words[index], (unsigned long long)found);
}

static void signal_handler(int number)
{
	int errno_before = errno;
	uint64_t count = atomic_fetch_add(&signals_taken, 1);
	uint64_t page = mix(count) % TALLY_PAGES;
	atomic_fetch_add_explicit(&tally[page * WORDS_A_PAGE], 1, memory_order_relaxed);
	errno = errno_before;
}

/* Returns the stack's memory, to be freed after alternate_stack_leave(). */
static void *alternate_stack_enter(void)
{
	stack_t stack = { .ss_sp = malloc(ALTERNATE_STACK_BYTES),
			  .ss_size = ALTERNATE_STACK_BYTES };
	CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
	return stack.ss_sp;
}

static void alternate_stack_leave(void *memory)
{
	stack_t none = { .ss_flags = SS_DISABLE };
	CHECK(sigaltstack(&none, NULL) == 0);
	free(memory);
}

static void line_write(struct writer *writer, uint64_t own)
{
	uint64_t line = own * WRITERS + writer->number;
	uint16_t generation = ++writer->generations[own];
	for (uint64_t word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++)
		atomic_store_explicit(&words[word], word_of(word, generation),
				      memory_order_relaxed);
}

static void line_check(const struct writer *writer, uint64_t own)
{
	uint64_t line = own * WRITERS + writer->number;
	for (uint64_t word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++) {
		uint64_t found = atomic_load_explicit(&words[word], memory_order_relaxed);
		if (found != word_of(word, writer->generations[own]))
			fail("writer %u: word %llu at %p is %#llx, expected %#llx", writer->number,
			     (unsigned long long)word, (void *)&words[word],
			     (unsigned long long)found,
			     (unsigned long long)word_of(word, writer->generations[own]));
	}
}

static void *writer_main(void *argument)
{
	struct writer *writer = argument;
	void *stack = alternate_stack_enter();
	struct random random = { mix(arguments.seed + writer->number) };
	uint64_t own_count = line_count / WRITERS;
	for (uint64_t step = 0; step < writer->writes; step++) {
		uint64_t own = random_below(&random, own_count);
		if (step % 4 == 0)
			line_check(writer, own);
		line_write(writer, own);
	}
	for (uint64_t own = 0; own < own_count; own++)
		line_check(writer, own);
	alternate_stack_leave(stack);
	return NULL;
}

static void *reader_main(void *argument)
{
	void *stack = alternate_stack_enter();
	struct random random = { mix(arguments.seed ^ (uintptr_t)argument) };
	while (!over)
		word_check(random_below(&random, line_count * LINE_WORDS));
	alternate_stack_leave(stack);
	return NULL;
}

/* A short life: looks at a few words, keeps notes on its stack and gives back malloc memory. */
static void *visitor_main(void *argument)
{
	volatile uint64_t notes[1024];
	struct random random = { mix(arguments.seed + (uintptr_t)argument) };
	for (int step = 0; step < 20; step++)
		word_check(random_below(&random, line_count * LINE_WORDS));
	for (uint64_t note = 0; note < 1024; note++)
		notes[note] = pattern(note, (uintptr_t)argument, arguments.seed);
	for (int step = 0; step < 20; step++)
		word_check(random_below(&random, line_count * LINE_WORDS));
	uint64_t *sum = malloc(sizeof(*sum));
	*sum = 0;
	for (uint64_t note = 0; note < 1024; note++)
		*sum += notes[note];
	return sum;
}

static void *churn_main(void *argument)
{
	pthread_attr_t with_stack;
	uint8_t *stack = map_anonymous(CHURN_STACK_BYTES);
	CHECK(pthread_attr_init(&with_stack) == 0);
	CHECK(pthread_attr_setstack(&with_stack, stack, CHURN_STACK_BYTES) == 0);
	for (uintptr_t number = 0; number < CHURN_THREADS; number++) {
		pthread_t thread;
		uint64_t *sum, expected = 0;
		int made = pthread_create(&thread, number % 2 ? &with_stack : NULL, visitor_main,
					  (void *)number);
		if (made != 0)
			fail("pthread_create: %s", strerror(made));
		CHECK(pthread_join(thread, (void **)&sum) == 0);
		for (uint64_t note = 0; note < 1024; note++)
			expected += pattern(note, number, arguments.seed);
		if (*sum != expected)
			fail("visitor %zu: its stack was not kept", (size_t)number);
		free(sum);
	}
	CHECK(munmap(stack, CHURN_STACK_BYTES) == 0);
	return NULL;
}

static void timer_set(long microseconds)
{
	struct itimerval timer = { .it_interval.tv_usec = microseconds,
				   .it_value.tv_usec = microseconds };
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void arena_make(void)
{
	words = map_anonymous(arguments.bytes);
	line_count = arguments.bytes / (LINE_WORDS * 8);
	for (uint64_t word = 0; word < line_count * LINE_WORDS; word++)
		words[word] = word_of(word, 0);
	tally = map_anonymous(TALLY_PAGES * PAGE);
	struct sigaction action = { .sa_handler = signal_handler,
				    .sa_flags = SA_ONSTACK | SA_RESTART };
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
}

static void tally_check(void)
{
	uint64_t sum = 0;
	for (uint64_t page = 0; page < TALLY_PAGES; page++)
		sum += tally[page * WORDS_A_PAGE];
	if (sum != signals_taken)
		fail("handlers counted %llu, in memory are %llu", (unsigned long long)signals_taken,
		     (unsigned long long)sum);
}

int main(int argc, char **argv)
{
	static struct writer writers[WRITERS];
	pthread_t readers[READERS], churn;
	arguments = arguments_parse(argc, argv);
	arena_make();
	void *stack = alternate_stack_enter();
	timer_set(2000);
	for (uint32_t number = 0; number < WRITERS; number++) {
		struct writer *writer = &writers[number];
		*writer = (struct writer){ .number = number, .writes = arguments.bytes / 2048 };
		writer->generations = calloc(line_count / WRITERS, sizeof(uint16_t));
		CHECK(pthread_create(&writer->thread, NULL, writer_main, writer) == 0);
	}
	for (uintptr_t number = 0; number < READERS; number++)
		CHECK(pthread_create(&readers[number], NULL, reader_main, (void *)number) == 0);
	CHECK(pthread_create(&churn, NULL, churn_main, NULL) == 0);
	for (uint32_t number = 0; number < WRITERS; number++)
		CHECK(pthread_join(writers[number].thread, NULL) == 0);
	CHECK(pthread_join(churn, NULL) == 0);
	over = true;
	for (uint32_t number = 0; number < READERS; number++)
		CHECK(pthread_join(readers[number], NULL) == 0);
	timer_set(0);
	alternate_stack_leave(stack);
	tally_check();
	for (uint32_t number = 0; number < WRITERS; number++) {
		for (uint64_t own = 0; own < line_count / WRITERS; own++)
			line_check(&writers[number], own);
		free(writers[number].generations);
	}
	puts("ok");
	return 0;
}
