/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches a process from outside: mem_limit PID MS START-END... prints the largest sum of resident
 * bytes of the ranges (hexadecimal) that any look at /proc/PID/smaps found, looking every MS
 * milliseconds until the process is gone. Only private pages count: what is shared is no one's.
 */
#include <inttypes.h>

#include "program.h"

#define RANGES_MAX 8

struct range {
	uint64_t start;
	uint64_t end;
};

static struct range ranges[RANGES_MAX];
static int range_count;

static bool range_holds(uint64_t start, uint64_t end)
{
	for (int index = 0; index < range_count; index++)
		if (start < ranges[index].end && end > ranges[index].start)
			return true;
	return false;
}

/* False when the process is gone. */
static bool look(const char *path, uint64_t *ret_bytes)
{
	char line[512];
	bool inside = false, any = false;
	uint64_t bytes = 0;
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		uint64_t start, end, kib;
		any = true;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			inside = range_holds(start, end);
		else if (inside && sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
			bytes += kib * 1024;
	}
	fclose(file);
	*ret_bytes = bytes;
	return any;
}

int main(int argc, char **argv)
{
	char path[64];
	if (argc < 4 || argc > 3 + RANGES_MAX) {
		dprintf(STDERR_FILENO, "usage: %s PID MS START-END...\n", argv[0]);
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%ld/smaps", strtol(argv[1], NULL, 10));
	for (int index = 3; index < argc; index++, range_count++)
		if (sscanf(argv[index], "%" SCNx64 "-%" SCNx64, &ranges[range_count].start,
			   &ranges[range_count].end) != 2)
			fail("bad range \"%s\"", argv[index]);
	uint64_t most = 0, looks = 0, bytes = 0;
	while (look(path, &bytes)) {
		most = bytes > most ? bytes : most;
		looks++;
		usleep((useconds_t)strtoul(argv[2], NULL, 10) * 1000);
	}
	printf("%" PRIu64 " bytes at most in %" PRIu64 " looks\n", most, looks);
	return looks > 0 ? 0 : 1;
}
