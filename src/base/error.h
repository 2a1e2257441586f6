/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/*
 * An error in words. Calls that a person's input can make fail take a `struct error *why`: they
 * return 0 or -errno and, on failure, leave one line without a final newline that names the object,
 * quotes the user's text and says what to do. Only programs print it.
 */
#define ERROR_TEXT_BYTES 320 /* one terminal line with a long path in it, and some room */

struct error {
	char text[ERROR_TEXT_BYTES];
};

/* Formats into `why` (NULL is allowed: the words are dropped) and returns `code`, a -errno. */
int error_set(struct error *why, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
