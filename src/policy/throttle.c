/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/throttle.h"

#include "base/bytes.h"
#include "policy/rate.h"

struct throttle throttle_for(uint64_t bound_pages, uint64_t bytes_per_s)
{
	if (bytes_per_s < THROTTLE_RATE_MIN)
		bytes_per_s = THROTTLE_RATE_MIN;
	return (struct throttle){ .bound_pages = bound_pages,
				  .page_ns = rate_ns_for(PAGE_BYTES, bytes_per_s) };
}

uint64_t throttle_first(const struct throttle *throttle)
{
	return throttle->bound_pages / 2;
}

uint64_t throttle_delay_ns(const struct throttle *throttle, uint64_t pages)
{
	uint64_t first = throttle_first(throttle);

	if (pages >= throttle->bound_pages)
		return THROTTLE_NEVER;
	if (pages <= first)
		return 0;
	/* x / (1 - x), with the length of the way cancelled out. */
	return (uint64_t)((unsigned __int128)throttle->page_ns * (pages - first) /
			  (throttle->bound_pages - pages));
}

bool throttle_admits(const struct throttle *throttle, uint64_t pages, uint64_t waited_ns)
{
	uint64_t delay_ns = throttle_delay_ns(throttle, pages);

	return delay_ns != THROTTLE_NEVER && waited_ns >= delay_ns;
}
