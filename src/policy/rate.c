/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rate.h"

#define SECOND_NS ((uint64_t)1000000000)

void rate_init(struct rate *rate, uint64_t age_ns)
{
	*rate = (struct rate){ .age_ns = age_ns };
}

static void add_sample(struct rate *rate, uint64_t now_ns, uint64_t sample)
{
	struct rate_slot *slot = &rate->slots[rate->newest];

	rate->latest = sample;
	if (rate->count && now_ns - slot->begin_ns < rate->age_ns / RATE_SLOTS) {
		if (sample < slot->worst)
			slot->worst = sample;
		return;
	}
	if (rate->count) {
		rate->newest = (rate->newest + 1) % RATE_SLOTS;
		slot = &rate->slots[rate->newest];
	}
	if (rate->count < RATE_SLOTS)
		rate->count++;
	*slot = (struct rate_slot){ .begin_ns = now_ns, .worst = sample };
}

void rate_note(struct rate *rate, uint64_t now_ns, uint64_t bytes, uint64_t busy_ns)
{
	uint64_t sample;

	rate->carried_bytes += bytes;
	rate->carried_ns += busy_ns;
	if (rate->carried_bytes < RATE_SAMPLE_BYTES || !rate->carried_ns)
		return;
	sample = (uint64_t)((unsigned __int128)rate->carried_bytes * SECOND_NS / rate->carried_ns);
	rate->carried_bytes = rate->carried_ns = 0;
	add_sample(rate, now_ns, sample ? sample : 1);
}

uint64_t rate_worst(const struct rate *rate, uint64_t now_ns)
{
	uint64_t worst;

	if (!rate->count)
		return 0;
	worst = rate->slots[rate->newest].worst;
	for (uint32_t i = 0; i < rate->count; i++) {
		const struct rate_slot *slot = &rate->slots[i];

		if (now_ns - slot->begin_ns < rate->age_ns && slot->worst < worst)
			worst = slot->worst;
	}
	return worst;
}

uint64_t rate_latest(const struct rate *rate)
{
	return rate->latest;
}

uint64_t rate_ns_for(uint64_t bytes, uint64_t bytes_per_s)
{
	unsigned __int128 ns;

	if (!bytes_per_s)
		return bytes ? UINT64_MAX : 0;
	ns = ((unsigned __int128)bytes * SECOND_NS + bytes_per_s - 1) / bytes_per_s;
	return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}

uint64_t rate_bytes_in(uint64_t ns, uint64_t bytes_per_s)
{
	unsigned __int128 bytes = (unsigned __int128)ns * bytes_per_s / SECOND_NS;

	return bytes < UINT64_MAX ? (uint64_t)bytes : UINT64_MAX;
}
