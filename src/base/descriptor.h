/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DESCRIPTOR_H
#define BASE_DESCRIPTOR_H

/*
 * Perdure's own file descriptors, in a process that is the program's: they lie above those that
 * programs count on, and are known, so that a program which closes "all" descriptors does not close
 * them. All calls: any thread, also in a forked child, no allocation. errno is left as it was.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Above what programs use: they count descriptors from 3, and may have closed 0 to 2. */
#define DESCRIPTOR_OWN_MIN 512
/* Those past this are not known. Few limits on open files allow them, and the lowest is taken. */
#define DESCRIPTOR_KNOWN_MAX 65536u

struct descriptor_table {
	_Atomic uint64_t words[DESCRIPTOR_KNOWN_MAX / 64];
};

/*
 * Takes `fd` as Perdure's own, close-on-exec, and returns its new number: out of the program's way,
 * or `fd` itself where the limit on open files allows no higher one. A negative one is returned.
 */
int descriptor_move_up(int fd);

/* Another descriptor of the same file, Perdure's own. -errno. */
int descriptor_copy(int fd);

/* Closes one, own or not; a negative one is ignored. 0 or -errno. */
int descriptor_close(int fd);

/* For one that somebody else closes: before that, or it could be another's by then. */
void descriptor_disown(int fd);

bool descriptor_is_own(int fd);
/* The first of Perdure's own that is not below `from`, or DESCRIPTOR_KNOWN_MAX. */
unsigned int descriptor_next_own(unsigned int from);

/*
 * Closes all but the standard three and these, which are 3, 4 and so on afterwards, as fds[] then
 * says: for a forked child that keeps nothing else of its parent's. Async-signal-safe.
 */
void descriptor_keep_only(int *fds, unsigned int count);

/* For a library with a copy of this code: one table is used by all of a process. */
struct descriptor_table *descriptor_table(void);
void descriptor_use_table(struct descriptor_table *shared);

#endif
