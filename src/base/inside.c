/* SPDX-License-Identifier: Apache-2.0 */
#include "base/inside.h"

#include <assert.h>

__thread int inside_depth;

void inside_enter(void)
{
	inside_depth++;
}

void inside_leave(void)
{
	assert(inside_depth > 0);
	inside_depth--;
}
