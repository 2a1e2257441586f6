/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_OWN_THREAD_H
#define BASE_OWN_THREAD_H

#include <pthread.h>

/*
 * Starts a thread of Perdure's own in a process that is the program's: it takes none of the
 * program's signals. `attributes` may be NULL. 0 or -errno.
 */
int own_thread_start(pthread_t *ret_thread, const pthread_attr_t *attributes,
		     void *(*body)(void *), void *argument);

#endif
