/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs a fuzz target over the files of its corpus, and over a fixed number of seeded mutations of
 * each, without libFuzzer. It says how many inputs it ran; an empty corpus is a failure.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX (1 << 20) /* larger files are no test inputs */
#define MUTATIONS 200		  /* a file; a second or so for a corpus */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Runs a copy of exactly `length` bytes, so that the sanitizer sees a read behind its end. */
static void run_copy(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length ? length : 1);

	if (!copy)
		abort();
	memcpy(copy, bytes, length);
	LLVMFuzzerTestOneInput(copy, length);
	free(copy);
}

static void run_mutation(const uint8_t *bytes, size_t length)
{
	static uint8_t mutated[INPUT_BYTES_MAX];
	uint64_t changes = 1 + next_random() % 4;

	memcpy(mutated, bytes, length);
	for (; changes > 0 && length > 0; changes--) {
		switch (next_random() % 4) {
		case 0:
			mutated[next_random() % length] ^= (uint8_t)(1u << next_random() % 8);
			break;
		case 1:
			mutated[next_random() % length] = (uint8_t)next_random();
			break;
		case 2:
			mutated[next_random() % length] = next_random() & 1 ? 0xff : 0;
			break;
		default:
			length = next_random() % length;
		}
	}
	run_copy(mutated, length);
}

static int run_file(const char *folder, const char *name)
{
	static uint8_t bytes[INPUT_BYTES_MAX];
	char path[4096];
	FILE *file;
	size_t length;
	int i;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (!file) {
		perror(path);
		return -1;
	}
	length = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	run_copy(bytes, length);
	for (i = 0; i < MUTATIONS; i++)
		run_mutation(bytes, length);
	return 0;
}

int main(int argc, char **argv)
{
	struct dirent *entry;
	int files = 0;
	DIR *folder;

	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	folder = opendir(argv[1]);
	if (!folder) {
		perror(argv[1]);
		return 1;
	}
	while ((entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		if (run_file(argv[1], entry->d_name) < 0)
			return 1;
		files++;
	}
	closedir(folder);
	printf("%d files, %d inputs\n", files, files * (MUTATIONS + 1));
	return files == 0;
}
