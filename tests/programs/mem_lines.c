/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes few bytes of each page that it touches: mem_lines SIZE SEED [fork] stores single words,
 * lines, runs of lines, pages that are whole or zero, at random in SIZE MiB, gives pages up, and
 * checks what it meets against a model in shared memory. With `fork` a child goes on with a copy of
 * all while the parent does, four times, and both check everything.
 */
#include "program.h"

#define LINE 64ul
#define LINES_A_PAGE (PAGE / LINE)
#define STEPS_A_PAGE 4
#define FORKS 4

static uint8_t *memory;
static uint32_t *generations; /* of each line; 0: zeros */
static size_t page_count;
static uint64_t seed;

static uint64_t word_of(size_t line, size_t word)
{
	return generations[line] ? pattern(line * 8 + word, generations[line], seed) : 0;
}

static void store_line(size_t line)
{
	volatile uint64_t *words = (volatile uint64_t *)(memory + line * LINE);
	for (size_t word = 0; word < 8; word++)
		words[word] = word_of(line, word);
}

static void check_page(size_t page, const char *what)
{
	const uint64_t *words = (const uint64_t *)(memory + page * PAGE);
	for (size_t i = 0; i < WORDS_A_PAGE; i++) {
		uint64_t right = word_of(page * LINES_A_PAGE + i / 8, i % 8);
		if (words[i] != right)
			fail("%s: page %zu, line %zu: %016llx for %016llx", what, page, i / 8,
			     (unsigned long long)words[i], (unsigned long long)right);
	}
}

static void change_lines(size_t page, size_t first, size_t count)
{
	for (size_t line = page * LINES_A_PAGE + first; count-- > 0; line++) {
		generations[line]++;
		store_line(line);
	}
}

static void clear(size_t page)
{
	memset(generations + page * LINES_A_PAGE, 0, LINES_A_PAGE * sizeof(*generations));
}

static void step(struct random *random)
{
	size_t page = random_below(random, page_count);
	size_t first = random_below(random, LINES_A_PAGE);
	uint64_t kind = random_below(random, 100);

	if (kind < 30) {
		check_page(page, "met again");
	} else if (kind < 80) {
		change_lines(page, first, 1);
	} else if (kind < 92) {
		/* Here and there. */
		for (size_t line = first; line < LINES_A_PAGE; line += 1 + random_below(random, 24))
			change_lines(page, line, 1);
	} else if (kind < 95) {
		change_lines(page, first, 1 + random_below(random, LINES_A_PAGE - first));
	} else if (kind < 97) {
		change_lines(page, 0, LINES_A_PAGE);
	} else if (kind < 98) {
		clear(page);
		memset(memory + page * PAGE, 0, PAGE);
	} else if (kind < 99) {
		clear(page);
		CHECK(madvise(memory + page * PAGE, PAGE, MADV_DONTNEED) == 0);
	} else {
		/* As it was: a store that changes nothing. */
		store_line(page * LINES_A_PAGE + first);
	}
}

static void work(struct random *random)
{
	for (size_t i = 0; i < STEPS_A_PAGE * page_count; i++)
		step(random);
	for (size_t page = 0; page < page_count; page++)
		check_page(page, "at the end");
}

static void fork_and_work(struct random *random)
{
	int status;
	size_t bytes = page_count * LINES_A_PAGE * sizeof(*generations);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		/* The model is shared; the child's is its own from here on. */
		uint32_t *own = map_model(bytes);
		memcpy(own, generations, bytes);
		CHECK(kill(getppid(), SIGUSR1) == 0);
		generations = own;
		random->state = mix(random->state);
		work(random);
		_exit(0);
	}
	int number;
	sigset_t copied;
	sigemptyset(&copied);
	sigaddset(&copied, SIGUSR1);
	CHECK(sigwait(&copied, &number) == 0);
	work(random);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
	struct arguments arguments = arguments_parse(argc, argv);
	struct random random = { mix(arguments.seed) };
	bool forks = argc == 4 && strcmp(argv[3], "fork") == 0;
	sigset_t copied;
	if (argc != 3 && !forks)
		return 2;
	sigemptyset(&copied);
	sigaddset(&copied, SIGUSR1);
	sigprocmask(SIG_BLOCK, &copied, NULL);
	seed = arguments.seed;
	page_count = arguments.bytes / PAGE;
	memory = map_anonymous(arguments.bytes);
	generations = map_model(page_count * LINES_A_PAGE * sizeof(*generations));
	for (size_t page = 0; page < page_count; page++)
		change_lines(page, 0, LINES_A_PAGE);
	work(&random);
	for (int i = 0; forks && i < FORKS; i++)
		fork_and_work(&random);
	printf("ok\n");
	return 0;
}
