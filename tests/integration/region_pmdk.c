/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of PMDK's libpmem, as its manual pages have it: region_pmdk write|check FILE.
 *
 *	write	records until it is killed; after each: "acknowledged NUMBER". First it says
 *		"pmem 1" if the library takes the file for persistent memory, "pmem 0" if not
 *	check	"found NUMBER": so many records are there, from the first on
 */
#include <libpmem.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_WORDS 32

static uint64_t *memory;
static size_t record_count;
static int is_pmem;

static void fail(const char *what)
{
	fprintf(stderr, "FAILED: %s: %s\n", what, pmem_errormsg());
	exit(1);
}

static uint64_t word_of(uint64_t number, size_t at)
{
	return (number * RECORD_WORDS + at) * 0x9e3779b97f4a7c15u;
}

static void persist(const void *from, size_t bytes)
{
	if (is_pmem)
		pmem_persist(from, bytes);
	else if (pmem_msync(from, bytes))
		fail("pmem_msync");
}

/* The number comes last: with it the record is whole. */
static void write_record(uint64_t number)
{
	uint64_t *record = memory + (number - 1) * RECORD_WORDS;
	uint64_t words[RECORD_WORDS];

	for (size_t i = 1; i < RECORD_WORDS; i++)
		words[i] = word_of(number, i);
	if (is_pmem)
		pmem_memcpy_persist(record + 1, words + 1, sizeof(words) - sizeof(*words));
	else
		memcpy(record + 1, words + 1, sizeof(words) - sizeof(*words));
	persist(record + 1, sizeof(words) - sizeof(*words));
	*(volatile uint64_t *)record = number;
	persist(record, sizeof(*record));
}

static bool is_record(uint64_t number)
{
	const uint64_t *record = memory + (number - 1) * RECORD_WORDS;

	if (record[0] != number)
		return false;
	for (size_t i = 1; i < RECORD_WORDS; i++) {
		if (record[i] != word_of(number, i)) {
			fprintf(stderr, "FAILED: record %zu is damaged\n", (size_t)number);
			exit(1);
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t number = 0;
	size_t bytes;

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Neither a length nor flags: a file that is there is mapped as it is. */
	memory = pmem_map_file(argv[2], 0, 0, 0, &bytes, &is_pmem);
	if (!memory)
		fail("pmem_map_file");
	record_count = bytes / (RECORD_WORDS * sizeof(uint64_t));
	while (number < record_count && is_record(number + 1))
		number++;
	if (!strcmp(argv[1], "check")) {
		printf("found %zu\n", (size_t)number);
		return 0;
	}
	printf("pmem %d\n", is_pmem);
	while (number < record_count) {
		write_record(++number);
		printf("acknowledged %zu\n", (size_t)number);
	}
	printf("full\n");
	return 0;
}
