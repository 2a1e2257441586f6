/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_OWN_MEMORY_H
#define BASE_OWN_MEMORY_H

/*
 * Memory that is Perdure's own. Inside a managed program malloc() and mmap() belong to the program:
 * what they return may itself be far. State that serves faults must never be, so it comes from
 * here: whole pages straight from the kernel, not seen by the interposed calls.
 *
 * Control path only. Zeroed. 0 or -errno; the caller gives back the same size that it asked for.
 */

#include <stddef.h>

/* Private, populated now and locked in memory as far as RLIMIT_MEMLOCK allows. */
int own_memory_map(size_t bytes, void **ret_memory);

/* Private, populated page by page as it is touched: for tables that are large and mostly unused. */
int own_memory_map_lazily(size_t bytes, void **ret_memory);

/* The same pages in every process forked after this, populated as they are touched. */
int own_memory_map_shared(size_t bytes, void **ret_memory);

void own_memory_unmap(void *memory, size_t bytes); /* NULL is allowed */

#endif
