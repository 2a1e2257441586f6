/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_READER_H
#define CLI_RUN_READER_H

/*
 * The runs of this host as `perdure status` sees them: found by the names of their sockets, joined
 * as a reader, and looked at through a read-only mapping of their segment.
 *
 * A socket's name proves nothing, so its owner is checked (for an ordinary user: oneself or root),
 * and the memfd must have the right size, be sealed against shrinking and carry the right
 * header before a byte of it is believed. What is in it may still be wrong, never dangerous: texts
 * may lack their NUL, numbers may be any.
 */

#include <stdint.h>

#include "format/run_segment.h"

#define RUN_READ_MAX 256	   /* runs shown; more on one host is beyond a table */
#define RUN_READ_WAIT_MS_MAX 500 /* a launcher that is stopped does not stop its readers */

struct run_reader {
	const struct run_segment *segment;
};

/*
 * Fills `readers` with the runs that answer and returns how many there are, ordered by pid.
 * *ret_mute counts those that are there and do not answer, or whose version is another.
 */
uint32_t run_reader_open_all(struct run_reader readers[static RUN_READ_MAX], uint32_t *ret_mute);

void run_reader_close_all(struct run_reader *readers, uint32_t count);

#endif
