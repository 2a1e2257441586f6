/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

/*
 * How fast something takes bytes (a disk, a link), from what it took: the worst of the recent
 * samples, by which promises are made, and the latest, by which writers are slowed. A sample is of
 * RATE_SAMPLE_BYTES at least: a single small write tells the latency of a disk, not its rate.
 * Feed it with work of the kind that is to be predicted: scattered pages are no measure of a
 * sequence.
 *
 * A sample counts until it is `age_ns` old; the newest stays as long as there is none after it.
 *
 * Pure: the caller gives the time, and serialises the calls with one struct.
 */

#include <stdint.h>

#define RATE_SLOTS 16
#define RATE_SAMPLE_BYTES (4u << 20)

struct rate_slot {
	uint64_t begin_ns;
	uint64_t worst; /* bytes a second */
};

struct rate {
	uint64_t age_ns;
	uint64_t latest; /* bytes a second; 0: nothing was measured */
	uint64_t carried_bytes, carried_ns; /* of a sample that is not whole yet */
	uint32_t newest, count;
	/* A ring; each holds the worst of age_ns / RATE_SLOTS. */
	struct rate_slot slots[RATE_SLOTS];
};

void rate_init(struct rate *rate, uint64_t age_ns);

/* So many bytes were taken in `busy_ns` of work, waiting for none; until `now_ns`. */
void rate_note(struct rate *rate, uint64_t now_ns, uint64_t bytes, uint64_t busy_ns);

/* Bytes a second, at least 1; 0 when nothing was measured. */
uint64_t rate_worst(const struct rate *rate, uint64_t now_ns);
uint64_t rate_latest(const struct rate *rate);

/* bytes * 1e9 / rate, upwards; UINT64_MAX when that is too much or the rate is 0. */
uint64_t rate_ns_for(uint64_t bytes, uint64_t bytes_per_s);

/* How many bytes go into the time, downwards. */
uint64_t rate_bytes_in(uint64_t ns, uint64_t bytes_per_s);

#endif
