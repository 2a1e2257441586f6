/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs for as long as others do things to its memory's far side: mem_loop SIZE SEED FOLDER checks
 * and rewrites random pages of SIZE MiB. While FOLDER/pause exists it touches nothing, and
 * FOLDER/paused says so. When FOLDER/stop exists it checks all and ends.
 *
 * The generations lie in shared memory, so a lost page cannot take its own proof along.
 */
#include "program.h"

#define PAGES_A_LOOK 64 /* between two looks at FOLDER */

static bool file_exists(const char *folder, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return access(path, F_OK) == 0;
}

static void pause_while_asked(const char *folder)
{
	char path[512];
	if (!file_exists(folder, "pause"))
		return;
	snprintf(path, sizeof(path), "%s/paused", folder);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	close(fd);
	while (file_exists(folder, "pause"))
		usleep(1000);
	unlink(path);
}

int main(int argc, char **argv)
{
	struct arguments arguments = arguments_parse(argc, argv);
	struct random random = { mix(arguments.seed) };
	size_t page_count = arguments.bytes / PAGE;
	uint64_t rounds = 0;
	if (argc != 4)
		return 2;
	uint8_t *memory = map_anonymous(arguments.bytes);
	uint64_t *generations = map_model(page_count * sizeof(uint64_t));
	for (size_t page = 0; page < page_count; page++)
		words_fill(memory + page * PAGE, PAGE, page, arguments.seed);
	while (!file_exists(argv[3], "stop")) {
		pause_while_asked(argv[3]);
		for (int step = 0; step < PAGES_A_LOOK; step++, rounds++) {
			size_t page = random_below(&random, page_count);
			uint8_t *at = memory + page * PAGE;
			words_check(at, PAGE, page + generations[page] * page_count, arguments.seed,
				    "page in the loop");
			if (step % 2)
				continue;
			generations[page]++;
			words_fill(at, PAGE, page + generations[page] * page_count, arguments.seed);
		}
	}
	for (size_t page = 0; page < page_count; page++)
		words_check(memory + page * PAGE, PAGE, page + generations[page] * page_count,
			    arguments.seed, "page at the end");
	printf("ok %llu\n", (unsigned long long)rounds);
	return 0;
}
