/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/units.h"
#include "cli/config_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct taken {
	const char *start, *end; /* of the text */
	uint64_t bytes;
};

static int take_text(void *target, const char *text, struct error *why)
{
	const struct taken *taken = target;

	/* A value is a piece of the text, with its end in it. */
	if (text < taken->start || text + strlen(text) > taken->end)
		abort();
	return 0;
}

static int take_size(void *target, const char *text, struct error *why)
{
	return parse_size(text, &((struct taken *)target)->bytes, why);
}

static int take_switch(void *target, const char *text, struct error *why)
{
	if (text)
		abort();
	return 0;
}

static const struct option_spec specs[] = {
	{ "images", "DIR", "a text", take_text },
	{ "dirty-max", "SIZE", "a size", take_size },
	{ "no-ups", NULL, "a switch", take_switch },
};

/* Any text is understood or refused in one line of words. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *text = malloc(length + 1);
	struct taken taken = { text, text + length, 0 };
	struct error why;
	int err;

	if (!text)
		abort();
	memcpy(text, bytes, length);
	text[length] = '\0';
	memset(&why, 0xff, sizeof(why));
	err = config_file_parse("a file", text, specs, ARRAY_COUNT(specs), &taken, &why);
	if (err && (err != -EINVAL || !memchr(why.text, 0, sizeof(why.text)) || !why.text[0] ||
		    strchr(why.text, '\n')))
		abort();
	free(text);
	return 0;
}
