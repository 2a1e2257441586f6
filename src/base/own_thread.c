/* SPDX-License-Identifier: Apache-2.0 */
#include "base/own_thread.h"

#include <signal.h>

int own_thread_start(pthread_t *ret_thread, const pthread_attr_t *attributes,
		     void *(*body)(void *), void *argument)
{
	sigset_t all, before;
	int err;

	/* The new thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(ret_thread, attributes, body, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}
