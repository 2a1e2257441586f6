/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

/*
 * Text for a terminal. What other processes wrote is made harmless first: it cannot move the
 * cursor, and it ends where its field ends.
 */

#include <stddef.h>
#include <stdint.h>

#define TEXT_AMOUNT_BYTES 16

/* Copies up to `bytes` bytes of `from`, to the first NUL; anything but printable ASCII becomes "?".
 */
void text_harmless(const char *from, size_t bytes, char *ret_text, size_t text_bytes);

/* "512", "64.0K", "1.5G": binary units, at most six characters. */
const char *text_bytes(uint64_t bytes, char ret_text[static TEXT_AMOUNT_BYTES]);

/* "1234", "56.7k", "1.2M": decimal units, for counts and rates. */
const char *text_count(uint64_t count, char ret_text[static TEXT_AMOUNT_BYTES]);

/* "870ns", "9.4us", "1.2ms", "3.0s". */
const char *text_time_ns(uint64_t ns, char ret_text[static TEXT_AMOUNT_BYTES]);

#endif
