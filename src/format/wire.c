/* SPDX-License-Identifier: Apache-2.0 */
#include "format/wire.h"

#include <errno.h>

static const size_t message_bytes[WIRE_TYPES] = {
	[WIRE_CHALLENGE] = sizeof(struct wire_challenge),
	[WIRE_HELLO] = sizeof(struct wire_hello),
	[WIRE_WELCOME] = sizeof(struct wire_welcome),
	[WIRE_EXTEND] = sizeof(struct wire_extend),
	[WIRE_EXTENDED] = sizeof(struct wire_extended),
	[WIRE_RING] = sizeof(struct wire_ring),
	[WIRE_LINES] = sizeof(struct wire_lines),
	[WIRE_STORED] = sizeof(struct wire_stored),
};

size_t wire_bytes_of(unsigned type)
{
	return type < WIRE_TYPES ? message_bytes[type] : 0;
}

struct wire_header wire_header_of(enum wire_type type)
{
	return (struct wire_header){
		.magic = le32_of(WIRE_MAGIC),
		.version = le16_of(WIRE_VERSION),
		.type = le16_of((uint16_t)type),
		.bytes = le32_of((uint32_t)wire_bytes_of(type)),
	};
}

/* What a field that has only begun to arrive may still become. */
static int begins_like(const void *arrived, size_t bytes, const void *wanted, size_t wanted_bytes)
{
	return memcmp(arrived, wanted, bytes < wanted_bytes ? bytes : wanted_bytes) == 0;
}

int wire_look(const void *buffer, size_t bytes, unsigned expected, enum wire_type *ret_type)
{
	const le32 magic = le32_of(WIRE_MAGIC);
	struct wire_header header;
	unsigned type;

	if (!begins_like(buffer, bytes, &magic, sizeof(magic)))
		return -EPROTO;
	if (bytes < sizeof(header))
		return -EAGAIN;
	memcpy(&header, buffer, sizeof(header));
	if (le16_get(header.version) != WIRE_VERSION)
		return -EPROTONOSUPPORT;
	type = le16_get(header.type);
	if (type == 0 || type >= WIRE_TYPES || !(expected & WIRE_BIT(type)))
		return -EPROTO;
	if (le32_get(header.bytes) != wire_bytes_of(type) || le32_get(header.reserved))
		return -EPROTO;
	if (bytes < wire_bytes_of(type))
		return -EAGAIN;
	*ret_type = (enum wire_type)type;
	return 0;
}

void wire_words(const char words[static WIRE_WORDS_BYTES], char ret_text[static WIRE_WORDS_BYTES])
{
	size_t i;

	for (i = 0; i < WIRE_WORDS_BYTES - 1 && words[i]; i++)
		ret_text[i] = words[i] >= ' ' && words[i] <= '~' ? words[i] : '?';
	ret_text[i] = '\0';
}

int wire_proof_equal(const uint8_t a[static WIRE_PROOF_BYTES],
		     const uint8_t b[static WIRE_PROOF_BYTES])
{
	volatile uint8_t different = 0;

	for (unsigned i = 0; i < WIRE_PROOF_BYTES; i++)
		different |= a[i] ^ b[i];
	return different == 0;
}
