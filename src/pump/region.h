/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_REGION_H
#define PUMP_REGION_H

/*
 * The program's mapping calls on the managed region, with the kernel's own rules and error codes.
 * Free address space in the region is inaccessible; what the program maps there is anonymous
 * private memory (managed), or anything else put there by MAP_FIXED (foreign, the kernel's).
 *
 * All calls are for the program's threads and may wait for pages in flight; one mutex, inside, that
 * no fault needs. They return 0 or -errno. The caller has entered (base/inside.h): bookkeeping may
 * allocate. Addresses belong to the region (region_holds) unless said otherwise.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pump/pager.h"

/* Once, before all others. The pager is the process's. */
void region_start(struct pager *pager);

/* The two below are for any address and any thread, at any time after region_start(). */
bool region_holds(const void *address);
/* Whether any byte of [address, address + bytes) is in the region. */
bool region_meets(const void *address, size_t bytes);
/* Whether all of it, rounded out to pages, is in the region. */
bool region_encloses(const void *address, size_t bytes);

/*
 * Anonymous private memory. `hint` is used when it is free, may be NULL or anywhere. `alignment` is
 * a power of two of at least a page. MAP_POPULATE and MAP_LOCKED of `flags` are obeyed.
 */
int region_map(const void *hint, size_t bytes, int protection, int flags, size_t alignment,
	       void **ret_address);
/* The same at `address`, replacing what is there; with MAP_FIXED_NOREPLACE -EEXIST instead. */
int region_map_fixed(void *address, size_t bytes, int protection, int flags);
/* A file or shared memory at `address`, in place of what is there. */
int region_map_foreign(void *address, size_t bytes, int protection, int flags, int fd,
		       off_t offset);

int region_unmap(void *address, size_t bytes);
int region_protect(void *address, size_t bytes, int protection);

/*
 * mremap(2). What goes to a `wish` (MREMAP_FIXED) outside the region is copied, and ordinary memory
 * from then on.
 */
int region_remap(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wish,
		 void **ret_address);

/* The same of other memory to a `wish` in the region, where it stays foreign. */
int region_remap_in(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wish,
		    void **ret_address);

int region_advise(void *address, size_t bytes, int advice);
/* msync(2): the kernel's part of it for foreign memory, and its answers. */
int region_sync(void *address, size_t bytes, int flags);
int region_lock(const void *address, size_t bytes);
int region_unlock(const void *address, size_t bytes);
void region_unlock_all(void);
/*
 * Keeps writable managed memory resident and where it is while the kernel has its pages, for pagers
 * that evict by copy; unpinned by the same span, or by unmapping. -ENOMEM past half of the limit.
 */
int region_pin(const void *address, size_t bytes);
void region_unpin(const void *address, size_t bytes);
/* mincore(2): one byte a page to `vector`, which may be managed memory. */
int region_resident(void *address, size_t bytes, unsigned char *vector);

/*
 * fork(), on the forking thread: `prepare` keeps all other calls out until `parent` or `child`. In
 * between the region's mappings, and only in between, are inherited as the program asked for with
 * madvise. `child` follows pager_fork_child() and ends with pager_fork_start(). When the fork
 * could not be opened nothing is inherited: the child has no memory then.
 */
int region_fork_open(struct pager_fork *ret_fork); /* pager_fork_open(), between forks */
void region_fork_prepare(struct pager_fork *fork); /* opens it where that is not done */
void region_fork_parent(void);
/*
 * The first of all in the child: what is not inherited leaves holes, and the next mapping of
 * anything, a thread's stack for instance, must not land in one.
 */
int region_fork_enter(void);
int region_fork_child(void);

#endif
