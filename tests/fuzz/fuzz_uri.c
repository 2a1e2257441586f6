/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backing/backing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/*
 * Any text is understood or refused in one line of words. Backings that are understood are not
 * opened: the text may name files.
 */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *uri = malloc(length + 1);
	struct error why;
	int err;

	if (!uri)
		abort();
	memcpy(uri, bytes, length);
	uri[length] = '\0';
	memset(&why, 0xff, sizeof(why));
	err = backing_check_uri(uri, &why);
	if (err && (err != -EINVAL || !memchr(why.text, 0, sizeof(why.text)) || !why.text[0] ||
		    strchr(why.text, '\n')))
		abort();
	free(uri);
	return 0;
}
