/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_FLOOR_LINK_H
#define BENCH_FLOOR_LINK_H

/*
 * The far side of the floor program: a process of its own that lends filled pages, and the ways to
 * fetch one of them. `local` has no process: the pages are plain memory of this one. `ring` is a
 * word and a page of shared memory that the process spins on, the least that two processes can do;
 * `shm` and `tcp` are one-sided reads through Perdure's fabric, as a memory node serves them.
 *
 * floor_far_start() forks: call it before the first thread and before any large mapping. A link
 * belongs to one handler thread.
 */

#include <stdint.h>

#define FLOOR_LINKS_MAX 64     /* handler threads: one a CPU */
#define FLOOR_WAIT_MS_MAX 5000 /* no fetch and no start takes this long unless it is broken */

struct floor_far;
struct floor_link;

/* Lends `page_count` pages of pattern, on `cpu` (-1: anywhere). Says why and exits on failure. */
struct floor_far *floor_far_start(const char *transport, uint64_t page_count, int cpu);
void floor_far_stop(struct floor_far *far);

struct floor_link *floor_link_open(struct floor_far *far, unsigned int index);
/* Brings the page into `into` (page-aligned). Spins; exits with words at the wait's limit. */
void floor_link_fetch(struct floor_link *link, uint64_t page, void *into);
void floor_link_close(struct floor_link *link);

#endif
