/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "format/lackey.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Whatever the line: an answer, and a reference that a trace can keep. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct trace_reference reference;

	if (lackey_read((const char *)bytes, length, &reference) != LACKEY_REFERENCE)
		return 0;
	if (reference.kind >= TRACE_KINDS || reference.bytes == 0 ||
	    reference.bytes > TRACE_REFERENCE_BYTES_MAX ||
	    reference.address > TRACE_ADDRESS_END - reference.bytes)
		abort();
	return 0;
}
