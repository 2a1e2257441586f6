/* SPDX-License-Identifier: Apache-2.0 */
#include "base/own_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system calls themselves: the functions of these names may be the interposed ones. */
static int map_pages(size_t bytes, int flags, void **ret_memory)
{
	long address = syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_ANONYMOUS | flags, -1, 0);

	if (address == -1)
		return -errno;
	*ret_memory = (void *)address;
	/* A core dump is for the program's state; a pool in it would only make it huge. */
	syscall(SYS_madvise, *ret_memory, bytes, MADV_DONTDUMP);
	return 0;
}

int own_memory_map(size_t bytes, void **ret_memory)
{
	int err = map_pages(bytes, MAP_PRIVATE | MAP_POPULATE, ret_memory);

	/* Without the privilege it is swappable like any memory: slower, not wrong. */
	if (!err)
		syscall(SYS_mlock, *ret_memory, bytes);
	return err;
}

int own_memory_map_lazily(size_t bytes, void **ret_memory)
{
	return map_pages(bytes, MAP_PRIVATE | MAP_NORESERVE, ret_memory);
}

int own_memory_map_shared(size_t bytes, void **ret_memory)
{
	return map_pages(bytes, MAP_SHARED | MAP_NORESERVE, ret_memory);
}

void own_memory_unmap(void *memory, size_t bytes)
{
	if (memory && syscall(SYS_munmap, memory, bytes))
		assert(!"own memory was unmapped twice or with another size");
}
