/* SPDX-License-Identifier: Apache-2.0 */
#include "format/wire_lines.h"

#include <errno.h>

#define PAGE_LINES_BYTES ((uint64_t)WIRE_LINES_PER_PAGE * WIRE_LINE_BYTES)

size_t wire_lines_add(uint8_t *at, uint64_t slot, uint64_t mask, const char *page)
{
	struct wire_lines_page head = { le64_of(slot), le64_of(mask) };
	uint8_t *line = at + sizeof(head);

	memcpy(at, &head, sizeof(head));
	for (; mask; mask &= mask - 1, line += WIRE_LINE_BYTES)
		memcpy(line, page + __builtin_ctzll(mask) * WIRE_LINE_BYTES, WIRE_LINE_BYTES);
	return (size_t)(line - at);
}

void wire_lines_begin(uint8_t *message, uint32_t page_count, size_t body_bytes)
{
	struct wire_lines head = { .header = wire_header_of(WIRE_LINES),
				   .page_count = le32_of(page_count),
				   .body_bytes = le32_of((uint32_t)body_bytes) };

	memcpy(message, &head, sizeof(head));
}

int wire_lines_look(const uint8_t *arrived, size_t bytes, size_t *ret_bytes)
{
	struct wire_lines head;
	enum wire_type type;
	size_t pages, body;
	int ret = wire_look(arrived, bytes, WIRE_BIT(WIRE_LINES), &type);

	if (ret)
		return ret;
	memcpy(&head, arrived, sizeof(head));
	pages = le32_get(head.page_count);
	body = le32_get(head.body_bytes);
	if (pages == 0 || pages > WIRE_LINES_PAGES_MAX)
		return -EPROTO;
	if (body < pages * (sizeof(struct wire_lines_page) + WIRE_LINE_BYTES) ||
	    body > pages * WIRE_LINES_PAGE_BYTES_MAX)
		return -EPROTO;
	*ret_bytes = sizeof(head) + body;
	return 0;
}

int wire_lines_check(const uint8_t *message, uint64_t slot_count)
{
	const uint8_t *at = message + sizeof(struct wire_lines);
	struct wire_lines head;
	size_t rest;

	memcpy(&head, message, sizeof(head));
	rest = le32_get(head.body_bytes);
	for (uint32_t i = 0; i < le32_get(head.page_count); i++) {
		struct wire_lines_page page;
		size_t bytes = sizeof(page);

		if (rest < bytes)
			return -EPROTO;
		memcpy(&page, at, sizeof(page));
		bytes += (size_t)__builtin_popcountll(le64_get(page.mask)) * WIRE_LINE_BYTES;
		if (!le64_get(page.mask) || le64_get(page.slot) >= slot_count || rest < bytes)
			return -EPROTO;
		at += bytes;
		rest -= bytes;
	}
	return rest == 0 ? 0 : -EPROTO;
}

void wire_lines_put(const uint8_t *message, char *slots)
{
	const uint8_t *at = message + sizeof(struct wire_lines);
	struct wire_lines head;

	memcpy(&head, message, sizeof(head));
	for (uint32_t i = 0; i < le32_get(head.page_count); i++) {
		struct wire_lines_page page;
		uint64_t mask;
		char *slot;

		memcpy(&page, at, sizeof(page));
		at += sizeof(page);
		slot = slots + le64_get(page.slot) * PAGE_LINES_BYTES;
		for (mask = le64_get(page.mask); mask; mask &= mask - 1, at += WIRE_LINE_BYTES)
			memcpy(slot + __builtin_ctzll(mask) * WIRE_LINE_BYTES, at, WIRE_LINE_BYTES);
	}
}
