/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ROBUST_LOCK_H
#define BASE_ROBUST_LOCK_H

#include <pthread.h>
#include <stdbool.h>

/*
 * Makes a mutex, in memory that processes share, whose next taker is told (EOWNERDEAD) when its
 * holder died. 0 or -errno. Once, before any other process knows of it.
 */
int robust_lock_init(pthread_mutex_t *lock);

/* For what a dead holder leaves valid: taken as if it had given it back. */
void robust_lock(pthread_mutex_t *lock);
/* True if it is taken. */
bool robust_trylock(pthread_mutex_t *lock);

#endif
