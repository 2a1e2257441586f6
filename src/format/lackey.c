/* SPDX-License-Identifier: Apache-2.0 */
#include "format/lackey.h"

#include <stdbool.h>

#define PREFIX_BYTES 3 /* the kind between blanks */

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* At least one digit, and a number below `end`. Moves *at behind it. */
static bool read_number(const char **at, const char *line_end, unsigned base, uint64_t end,
			uint64_t *ret_number)
{
	const char *first = *at;
	uint64_t number = 0;

	for (; *at < line_end; (*at)++) {
		int digit = digit_of(**at);

		if (digit < 0 || (unsigned)digit >= base)
			break;
		number = number * base + (unsigned)digit;
		if (number >= end)
			return false;
	}
	*ret_number = number;
	return *at > first;
}

static bool read_kind(const char *line, uint8_t *ret_kind)
{
	if (line[0] != ' ' || line[2] != ' ')
		return false;
	if (line[1] == 'L')
		*ret_kind = TRACE_LOAD;
	else if (line[1] == 'S')
		*ret_kind = TRACE_STORE;
	else if (line[1] == 'M')
		*ret_kind = TRACE_MODIFY;
	else
		return false;
	return true;
}

enum lackey_line lackey_read(const char *line, size_t length, struct trace_reference *ret_reference)
{
	const char *at = line + PREFIX_BYTES, *end = line + length;
	uint64_t address, bytes;
	uint8_t kind = TRACE_KINDS;
	bool is_fetch;

	if (length < PREFIX_BYTES)
		return LACKEY_WORDS;
	is_fetch = line[0] == 'I' && line[1] == ' ' && line[2] == ' ';
	if (!is_fetch && !read_kind(line, &kind))
		return LACKEY_WORDS;
	if (!read_number(&at, end, 16, TRACE_ADDRESS_END, &address) || at == end || *at++ != ',' ||
	    !read_number(&at, end, 10, TRACE_REFERENCE_BYTES_MAX + 1, &bytes) || at != end)
		return LACKEY_WORDS;
	if (bytes == 0 || address > TRACE_ADDRESS_END - bytes)
		return LACKEY_WORDS;
	if (is_fetch)
		return LACKEY_INSTRUCTION;
	*ret_reference = (struct trace_reference){ .address = address,
						   .bytes = (uint16_t)bytes,
						   .kind = kind };
	return LACKEY_REFERENCE;
}
