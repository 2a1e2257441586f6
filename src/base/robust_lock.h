/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ROBUST_LOCK_H
#define BASE_ROBUST_LOCK_H

#include <pthread.h>

/*
 * Makes a mutex, in memory that processes share, whose next taker is told (EOWNERDEAD) when its
 * holder died. 0 or -errno. Once, before any other process knows of it.
 */
int robust_lock_init(pthread_mutex_t *lock);

#endif
