/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"

static const struct conformance_case cases[] = {
	{.uri = "file:.?size=1G", .bounded = true},
	{.uri = "file:.?size=1G&io=sync", .bounded = true},
	{.uri = "file:/dev/shm?size=1G", .bounded = true},
};

int main(void)
{
	return conformance_run(conformance_suite("backing_file", cases, ARRAY_COUNT(cases)));
}
