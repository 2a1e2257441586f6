/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_INSIDE_H
#define BASE_INSIDE_H

/*
 * Whether this thread is inside Perdure's own code. While it is, the interposed calls of the
 * preload library (malloc, mmap, close…) are the system's: what Perdure allocates is not managed.
 * Handler threads enter once, at their start. Calls nest. Any thread, each for itself.
 *
 * Initial-exec, so that reading it never allocates: it is read in every malloc().
 */
extern __thread int inside_depth __attribute__((tls_model("initial-exec")));

void inside_enter(void);
void inside_leave(void);

#endif
