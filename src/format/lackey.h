/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_LACKEY_H
#define FORMAT_LACKEY_H

/*
 * The lines that valgrind's tool lackey writes with --trace-mem=yes: an instruction "I  4001090,3",
 * a load " L 1ffeff718,8", a store " S 1ffeff718,8", a modification " M 1ffeff718,8"; address in
 * hexadecimal, size in decimal. Everything else is somebody's words. Pure.
 */

#include <stddef.h>

#include "format/trace.h"

enum lackey_line {
	LACKEY_REFERENCE,   /* of data */
	LACKEY_INSTRUCTION, /* its fetch, which a trace does not keep */
	LACKEY_WORDS,
};

/* `line` has no line end. *ret_reference is written for LACKEY_REFERENCE only, within limits. */
enum lackey_line lackey_read(const char *line, size_t length,
			     struct trace_reference *ret_reference);

#endif
