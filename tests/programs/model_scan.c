/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writes a word in every eighth line of 16 MiB, then reads one of each page twice: what a
 * prefetcher of page-table lines should foresee, and what tracking of lines should keep small.
 */

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#define BYTES (16u << 20)
#define PAGE_BYTES 4096
#define STEP_BYTES 512

int main(void)
{
	/* Not malloc(): the tests' environment may have it fill what it gives. */
	volatile uint64_t *memory =
		mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;

	if (memory == MAP_FAILED)
		return 1;
	for (size_t at = 0; at < BYTES; at += STEP_BYTES)
		memory[at / sizeof(*memory)] = at;
	for (int round = 0; round < 2; round++)
		for (size_t at = 0; at < BYTES; at += PAGE_BYTES)
			sum += memory[at / sizeof(*memory)];
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}
