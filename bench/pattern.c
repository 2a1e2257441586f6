/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern.h"

#include <string.h>

/* Enough that neighbouring pages differ; few enough (256 KiB) to stay in a second-level cache. */
#define TEMPLATES 64

static uint64_t templates[TEMPLATES][PATTERN_PAGE_WORDS];

static const char *const vocabulary[] = {
	"the ",	    "memory ",	 "of ",	      "a ",	   "page ",	"host ",    "customer ",
	"order ",   "2023-11-",	 "warehouse", "in ",	   "status=",	"shipped ", "pending ",
	"invoice ", "Bergen ",	 "Kyoto ",    "address ",  "quantity ", "12.50 ",   "total: ",
	"note, ",   "and then ", "returned ", "by train ", "north ",	"south ",   "\n",
	"key:",	    "value:",	 "user_id=",  "session ",
};

int pattern_parse(const char *name, enum pattern_data *ret_data)
{
	static const char *const names[] = {
		[PATTERN_WORDS] = "words",
		[PATTERN_TEXT] = "text",
		[PATTERN_RANDOM] = "random",
	};

	for (unsigned int i = 0; i < ARRAY_COUNT(names); i++) {
		if (!strcmp(name, names[i])) {
			*ret_data = (enum pattern_data)i;
			return 0;
		}
	}
	return -1;
}

static uint64_t next_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return pattern_mix(*state);
}

static void make_text(char *bytes, uint64_t byte_count, uint64_t *random)
{
	uint64_t at = 0;

	while (at < byte_count) {
		const char *word = vocabulary[next_random(random) % ARRAY_COUNT(vocabulary)];

		while (*word && at < byte_count)
			bytes[at++] = *word++;
	}
}

/* One word of a heap: a pointer, a count, a flag word, a hash; zero is the commonest of all. */
static uint64_t heap_word(uint64_t *random)
{
	uint64_t choice = next_random(random);
	uint64_t value = next_random(random);

	switch (choice % 16) {
	case 0 ... 9:
		return 0;
	case 10 ... 11: /* one of a few types of object */
		return 0x000055d0c0de0000u | value % 8 << 4;
	case 12:
		return 0x00007f3a00000000u | (value & 0x0fffff0);
	case 13 ... 14:
		return value % 100;
	default:
		return value;
	}
}

static void make_template(uint64_t *words, enum pattern_data data, uint64_t *random)
{
	uint64_t word_count = PATTERN_PAGE_WORDS;

	if (data == PATTERN_TEXT) {
		make_text((char *)words, PAGE_BYTES, random);
		return;
	}
	for (uint64_t i = 0; i < word_count; i++)
		words[i] = data == PATTERN_RANDOM ? next_random(random) : heap_word(random);
	/* An eighth of a heap page is strings. */
	if (data == PATTERN_WORDS)
		make_text((char *)words, PAGE_BYTES / 8, random);
}

void pattern_prepare(enum pattern_data data, uint64_t seed)
{
	uint64_t random = seed;

	for (unsigned int i = 0; i < TEMPLATES; i++)
		make_template(templates[i], data, &random);
}

void pattern_fill(uint64_t *words, uint64_t page)
{
	const uint64_t *from = templates[page % TEMPLATES];
	unsigned int tag_line = pattern_tag_line(page);

	for (unsigned int line = 0; line < PATTERN_PAGE_LINES; line++) {
		uint64_t sum = pattern_line_check(page, line);

		for (unsigned int i = 0; i < PATTERN_LINE_WORDS - 1; i++) {
			uint64_t word = line == tag_line && i == 0 ? 0 : from[i];

			words[i] = word;
			sum ^= word;
		}
		words[PATTERN_LINE_WORDS - 1] = sum;
		if (line == tag_line)
			words[0] = pattern_tag(page, 0);
		words += PATTERN_LINE_WORDS;
		from += PATTERN_LINE_WORDS;
	}
}

bool pattern_is_right(const uint64_t *words, uint64_t page, uint8_t generation)
{
	unsigned int tag_line = pattern_tag_line(page);
	uint64_t wrong = 0;

	for (unsigned int line = 0; line < PATTERN_PAGE_LINES; line++) {
		uint64_t sum = pattern_line_check(page, line);

		for (unsigned int i = 0; i < PATTERN_LINE_WORDS; i++)
			sum ^= words[i];
		if (line == tag_line)
			sum ^= pattern_tag(page, generation);
		wrong |= sum;
		words += PATTERN_LINE_WORDS;
	}
	return !wrong;
}
