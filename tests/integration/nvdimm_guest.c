/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs in a guest, on a file of a file system in persistent memory: nvdimm_guest write|check FILE.
 *
 *	write	records, one behind the other, through a mapping with MAP_SYNC: a store is durable
 *		when it is visible. After each: "acknowledged NUMBER". Goes on where it ended last
 *	check	"found NUMBER": so many are there, from the first on, and nothing behind them
 */
#include <emmintrin.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 0x03
#endif

#define RECORD_BYTES 64
#define RECORDS 262144u

struct record {
	uint64_t words[RECORD_BYTES / sizeof(uint64_t)]; /* the number last: then it is whole */
};

static void fail(const char *what)
{
	printf("FAILED: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t word_of(uint64_t number, size_t at)
{
	return (number * 8 + at) * 0x9e3779b97f4a7c15u;
}

static struct record *map_file(const char *path)
{
	size_t bytes = RECORDS * sizeof(struct record);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	void *memory;

	if (fd < 0 || posix_fallocate(fd, 0, (off_t)bytes) || fsync(fd))
		fail(path);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	if (memory == MAP_FAILED)
		fail("mmap with MAP_SYNC");
	close(fd);
	return memory;
}

static void persist(const void *line)
{
	_mm_clflush(line);
	_mm_sfence();
}

static void write_record(struct record *record, uint64_t number)
{
	volatile uint64_t *words = record->words;

	for (size_t i = 0; i < 7; i++)
		words[i] = word_of(number, i);
	persist(record);
	words[7] = number;
	persist(record);
}

static uint64_t count_records(const struct record *records)
{
	uint64_t count = 0;

	while (count < RECORDS && records[count].words[7] == count + 1) {
		for (size_t i = 0; i < 7; i++) {
			if (records[count].words[i] != word_of(count + 1, i)) {
				printf("FAILED: record %llu is damaged\n",
				       (unsigned long long)count + 1);
				exit(1);
			}
		}
		count++;
	}
	for (uint64_t i = count; i < RECORDS; i++) {
		if (records[i].words[7]) {
			printf("FAILED: record %llu is missing\n", (unsigned long long)count + 1);
			exit(1);
		}
	}
	return count;
}

int main(int argc, char **argv)
{
	struct record *records;
	uint64_t count;

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	records = map_file(argv[2]);
	count = count_records(records);
	printf("found %llu\n", (unsigned long long)count);
	while (!strcmp(argv[1], "write") && count < RECORDS) {
		write_record(&records[count], count + 1);
		count++;
		printf("acknowledged %llu\n", (unsigned long long)count);
	}
	return 0;
}
