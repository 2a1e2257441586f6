/* SPDX-License-Identifier: Apache-2.0 */

/* In place of persist/ups.c, in a build without NUT. */

#include "persist/ups.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

int ups_open(const struct ups_config *config, struct ups **ret_ups, struct error *why)
{
	return error_set(why, -ENOTSUP,
			 "UPS %s@%s: this perdure was built without NUT; install libupsclient-dev "
			 "and build it again",
			 config->address.name, config->address.host);
}

/* Without a UPS that was opened there is nothing to be asked. */

int ups_fd(const struct ups *ups)
{
	assert(ups);
	return -1;
}

void ups_look(struct ups *ups, uint64_t now_ns, struct ups_view *ret_view)
{
	assert(ups);
	*ret_view = (struct ups_view){ .answered_ns = 0 };
}

uint64_t ups_wake_ns(const struct ups *ups, const struct ups_view *view)
{
	assert(ups);
	return POWER_NO_WAKE;
}

void ups_close(struct ups *ups)
{
	assert(!ups);
}
