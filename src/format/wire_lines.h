/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_WIRE_LINES_H
#define FORMAT_WIRE_LINES_H

/*
 * The body of WIRE_LINES: lines of up to WIRE_LINES_PAGES_MAX pages, and where they go. For each
 * page its slot, a mask of lines, and those lines in their order. Pure; any thread.
 */

#include "format/wire.h"

#define WIRE_LINES_PAGES_MAX 32
#define WIRE_LINE_BYTES 64
#define WIRE_LINES_PER_PAGE 64

struct wire_lines_page {
	le64 slot;
	le64 mask; /* not 0; bit i is the page's bytes from i * WIRE_LINE_BYTES on */
};

#define WIRE_LINES_PAGE_BYTES_MAX                                                                  \
	(sizeof(struct wire_lines_page) + (size_t)WIRE_LINES_PER_PAGE * WIRE_LINE_BYTES)
#define WIRE_LINES_BYTES_MAX                                                                       \
	(sizeof(struct wire_lines) + WIRE_LINES_PAGES_MAX * WIRE_LINES_PAGE_BYTES_MAX)

_Static_assert(sizeof(struct wire_lines_page) == 16, "the layout is the format");

/* Appends one page of a body at `at`; `page` is the whole page. Returns the bytes added. */
size_t wire_lines_add(uint8_t *at, uint64_t slot, uint64_t mask, const char *page);

/* Writes the message in front of a body of so many bytes. */
void wire_lines_begin(uint8_t *message, uint32_t page_count, size_t body_bytes);

/*
 * What the first `bytes` of what has arrived are, as wire_look() tells it: 0 with *ret_bytes, those
 * of message and body together, when the message is there; the body may be still to come. -EPROTO
 * also for counts that no body can have.
 */
int wire_lines_look(const uint8_t *arrived, size_t bytes, size_t *ret_bytes);

/*
 * Whether the body of a whole message is right: its length, its masks, and its slots, which must be
 * below `slot_count`. 0 or -EPROTO.
 */
int wire_lines_check(const uint8_t *message, uint64_t slot_count);

/* Puts the lines of a message that passed the check into their slots, which begin at `slots`. */
void wire_lines_put(const uint8_t *message, char *slots);

#endif
