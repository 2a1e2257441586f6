/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_UPS_ADDRESS_H
#define PERSIST_UPS_ADDRESS_H

/* Where a UPS is asked for: "NAME@HOST[:PORT]", as NUT's own clients write it. Pure. */

#include <stdint.h>

#include "base/error.h"

#define UPS_NAME_BYTES 64
#define UPS_HOST_BYTES 256
#define UPS_PORT 3493

struct ups_address {
	char name[UPS_NAME_BYTES]; /* letters, digits, '.', '-' and '_' */
	char host[UPS_HOST_BYTES]; /* a name or an address; one with colons in [] */
	uint16_t port;
};

/* -EINVAL in words that quote `text`. */
int ups_address_parse(const char *text, struct ups_address *ret_address, struct error *why);

#endif
