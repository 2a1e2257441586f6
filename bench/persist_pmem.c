/* SPDX-License-Identifier: Apache-2.0 */

/*
 * persist_pmem FILE STORES: the stores of bench/persist.c, made safe by libpmem's pmem_persist() on
 * a file that it is told to take for persistent memory (PMEM_IS_PMEM_FORCE=1). Whether it flushes
 * cache lines is PMEM_NO_FLUSH's to say.
 */

#include <libpmem.h>

#include "persist_stores.h"

static int persist(const void *context, void *line)
{
	pmem_persist(line, STORE_BYTES);
	return 0;
}

int main(int argc, char **argv)
{
	size_t bytes;
	int is_pmem;
	void *memory;

	if (argc != 3)
		return 2;
	memory = pmem_map_file(argv[1], STORE_SET_BYTES, PMEM_FILE_CREATE, 0600, &bytes, &is_pmem);
	if (!memory || !is_pmem) {
		fprintf(stderr, "persist_pmem: %s: %s\n", argv[1],
			memory ? "libpmem takes it for no persistent memory" : pmem_errormsg());
		return EXIT_FAILURE;
	}
	measure_stores("persist", memory, strtoull(argv[2], NULL, 10), persist, NULL);
	pmem_unmap(memory, bytes);
	return EXIT_SUCCESS;
}
