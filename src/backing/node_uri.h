/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_NODE_URI_H
#define BACKING_NODE_URI_H

/* node://HOST:PORT[?transport=auto|tcp|shm|cma][&timeout=DURATION], understood. Pure; any thread.
 */

#include "backing/backing.h"

struct node_uri {
	char host[BACKING_URI_BYTES]; /* a name or a number; without the brackets of [::1] */
	char port[8];
	char place[BACKING_URI_BYTES]; /* "HOST:PORT" as typed, for words */
	uint32_t transports;	       /* a bit for each that may be used */
	uint32_t wait_ms_max;	       /* 0: not said */
};

/* `rest` is the URI behind "node:". -EINVAL in words that quote it. */
int node_uri_parse(const char *rest, struct node_uri *ret_uri, struct error *why);

#endif
