/* SPDX-License-Identifier: Apache-2.0 */
#include "base/robust_lock.h"

#include <errno.h>

int robust_lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;
	int err = pthread_mutexattr_init(&attributes);

	if (err)
		return -err;
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	err = pthread_mutex_init(lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	return -err;
}

/* What a taking of the lock said: true if it is ours now. */
static bool settle(pthread_mutex_t *lock, int err)
{
	if (err == EOWNERDEAD)
		pthread_mutex_consistent(lock);
	return !err || err == EOWNERDEAD;
}

void robust_lock(pthread_mutex_t *lock)
{
	settle(lock, pthread_mutex_lock(lock));
}

bool robust_trylock(pthread_mutex_t *lock)
{
	return settle(lock, pthread_mutex_trylock(lock));
}
