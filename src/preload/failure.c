/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an assert of ours does in the program's process. The C library's own would translate its
 * words, which lie in the program's memory: a handler that fails would wait for itself for ever.
 * Hidden in this library: the program's asserts are not touched.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/raw_map.h"

__attribute__((visibility("hidden"), noreturn)) void __assert_fail(const char *condition,
								   const char *file,
								   unsigned int line,
								   const char *function)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	char words[512];
	sigset_t all;
	int n = snprintf(words, sizeof(words), "perdure: a bug: %s:%u: %s: \"%s\" does not hold\n",
			 file, line, function, condition);

	RAW_CALL(SYS_write, STDERR_FILENO, words,
		 (size_t)n < sizeof(words) ? (size_t)n : sizeof(words) - 1);
	/* The program's handler of SIGABRT may need memory that we cannot bring any more. */
	sigaction(SIGABRT, &standard, NULL);
	sigemptyset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	RAW_CALL(SYS_tgkill, getpid(), gettid(), SIGABRT);
	_exit(134); /* 128 and SIGABRT */
}
