/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERDURE_REGION_H
#define PERDURE_REGION_H

/*
 * Persistent regions: memory that survives lost power. `perdure serve`, the host's agent, keeps
 * them (perdure-serve(1)); this maps one into the program, with its changes tracked page by page.
 * Link with `pkg-config --cflags --libs perdure`; pd_region(3) has an example.
 *
 * Plain stores are all it takes: what was stored when the power fails is saved and there again at
 * the next start, while the region is armed. The method is described in US 2018/0321962; see
 * PATENTS.md of the project.
 *
 * A store to a page that was flushed in the background takes a few microseconds longer, once; a
 * program that writes faster than the disk is slowed when much is unflushed.
 *
 * Threads: pd_region_persist() and pd_region_is_armed() may be called by any thread at any time
 * between open and close, the others by one thread at a time. fork(): the child has the region as
 * well, tracked; it may close its copy.
 *
 * Errors: calls that can fail return 0 or a negative errno.
 */

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pd_region;

/* One line without a newline. */
#define PD_REGION_WORDS_BYTES 320

/*
 * Maps the region `name` of the agent of this host, or of the one whose folder is PERDURE_FOLDER in
 * the environment. A region that is being restored is mapped at once: a touch of a page that is not
 * here yet waits for it. On failure `ret_words` (PD_REGION_WORDS_BYTES, or NULL) says what to do.
 * -ENOENT no such region, or no agent; -EACCES another user's; -EBADMSG its image is damaged;
 * -EPERM no right to userfaultfd.
 */
int pd_region_open(const char *name, struct pd_region **ret_region, char *ret_words);

/* The program must not touch the memory any more. NULL is allowed. */
void pd_region_close(struct pd_region *region);

void *pd_region_memory(const struct pd_region *region);
size_t pd_region_bytes(const struct pd_region *region);

/*
 * Whether what is in the region now would survive lost power: the agent lives, and battery, disk
 * and tracking can keep the promise (perdure-region(1) says why not). Two loads.
 */
bool pd_region_is_armed(const struct pd_region *region);

/*
 * All stores of this thread before it are safe when it returns 0. -EAGAIN: the region is not armed;
 * they are safe once it is. A fence and two loads: no flush of cache lines, since who saves is
 * software on the same coherent machine.
 */
int pd_region_persist(const struct pd_region *region);

#ifdef __cplusplus
}
#endif

#endif
