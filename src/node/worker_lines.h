/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_WORKER_LINES_H
#define NODE_WORKER_LINES_H

/* The worker's side of a connection for stores of lines (format/wire_lines.h). */

#include "node/lent.h"
#include "node/worker_peer.h"

/*
 * Takes what has arrived, without waiting, and puts each store that is whole into memory and
 * answers it. 0; -EPIPE or -ECONNRESET for the end; others for a peer that is to be dropped.
 */
int worker_lines_serve(struct worker_peer *peer, const struct lent *lent);

#endif
