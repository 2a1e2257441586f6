/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fabric/address.h"
#include "format/wire_lines.h"

#define SLOTS 16
#define SLOT_BYTES (WIRE_LINES_PER_PAGE * WIRE_LINE_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void use_addresses(const struct wire_welcome *welcome)
{
	for (unsigned i = 0; i < WIRE_TRANSPORTS; i++) {
		struct fabric_address address;

		if (!fabric_address_from_wire(&welcome->addresses[i], &address) &&
		    address.bytes > sizeof(address.data))
			abort();
	}
}

/* A body is used when all of it is there, and then never read or written past its ends. */
static void use_lines(const uint8_t *bytes, size_t length)
{
	size_t whole;
	uint8_t *message;
	char *slots;

	if (wire_lines_look(bytes, length, &whole) || length < whole)
		return;
	if (whole > WIRE_LINES_BYTES_MAX)
		abort();
	message = malloc(whole);
	slots = malloc(SLOTS * SLOT_BYTES);
	if (!message || !slots)
		abort();
	memcpy(message, bytes, whole);
	if (!wire_lines_check(message, SLOTS))
		wire_lines_put(message, slots);
	free(message);
	free(slots);
}

/*
 * The input's first byte says which types are expected. Whatever follows: an answer, never a read
 * behind the end; a message that is there is there whole, and every shorter cut of it is only
 * begun.
 */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	unsigned expected = length ? *bytes : 0;
	enum wire_type type = WIRE_TYPES;
	char words[WIRE_WORDS_BYTES];
	int ret;

	if (length == 0)
		return 0;
	bytes++;
	length--;
	ret = wire_look(bytes, length, expected, &type);
	if (ret)
		return 0;
	if (!(expected & WIRE_BIT(type)) || length < wire_bytes_of(type))
		abort();
	for (size_t cut = 0; cut < wire_bytes_of(type); cut++) {
		if (wire_look(bytes, cut, expected, &type) == 0)
			abort();
	}
	if (type == WIRE_WELCOME) {
		struct wire_welcome welcome;

		memcpy(&welcome, bytes, sizeof(welcome));
		wire_words(welcome.words, words);
		use_addresses(&welcome);
	} else if (type == WIRE_EXTENDED) {
		struct wire_extended extended;

		memcpy(&extended, bytes, sizeof(extended));
		wire_words(extended.words, words);
	} else if (type == WIRE_LINES) {
		use_lines(bytes, length);
		return 0;
	} else {
		return 0;
	}
	if (strlen(words) >= sizeof(words))
		abort();
	return 0;
}
