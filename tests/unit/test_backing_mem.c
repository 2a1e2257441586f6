/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"

static const struct conformance_case cases[] = {
	{.uri = "mem:", .bounded = true},
	{.uri = "mem:64M", .bounded = true},
};

int main(void)
{
	return conformance_run(conformance_suite("backing_mem", cases, ARRAY_COUNT(cases)));
}
