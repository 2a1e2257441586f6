/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FABRIC_SIM_H
#define FABRIC_SIM_H

/*
 * A fabric inside one process, for tests: it moves bytes when it is polled, in an order and with
 * the mishaps that its settings say, the same for the same seed. One thread.
 */

#include "fabric/fabric.h"

struct sim_settings {
	uint64_t seed;
	unsigned delay_polls_max;     /* each operation waits for 0 to this many polls */
	unsigned fail_per_thousand;   /* operations that end with -EIO, and moved nothing */
	unsigned drop_per_thousand;   /* operations that never end */
	unsigned refuse_per_thousand; /* starts that say -EAGAIN */
};

/* For channels opened from now on; zero is a fabric without mishaps. */
void sim_set(const struct sim_settings *settings);

extern const struct fabric_ops fabric_sim_ops;

#endif
