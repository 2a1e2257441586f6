/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lines.h"

#include "base/bytes.h"

#define SHARE_ALL 65536u
#define SHARE_WORTH (SHARE_ALL / 8) /* under it a fetch pays more than a store gains */
#define NOTE_WEIGHT 64		    /* one page counts so much against those before */
#define PASSED_MAX 32		    /* one page in so many finds out */
#define SENT_LINES_MAX (PAGE_LINES / 2)

void lines_policy_init(struct lines_policy *policy)
{
	*policy = (struct lines_policy){ .changed = SHARE_ALL / 2, .spared = SHARE_ALL };
}

bool lines_policy_is_worth(const struct lines_policy *policy)
{
	return (uint64_t)policy->changed * policy->spared >= (uint64_t)SHARE_WORTH * SHARE_ALL;
}

bool lines_policy_wants(struct lines_policy *policy)
{
	if (!lines_policy_is_worth(policy) && ++policy->passed < PASSED_MAX)
		return false;
	policy->passed = 0;
	return true;
}

static uint32_t nearer(uint32_t share, uint32_t one)
{
	return (uint32_t)((int64_t)share + ((int64_t)one - share) / NOTE_WEIGHT);
}

void lines_policy_note(struct lines_policy *policy, bool changed)
{
	policy->changed = nearer(policy->changed, changed ? SHARE_ALL : 0);
}

void lines_policy_note_lines(struct lines_policy *policy, uint32_t lines)
{
	policy->spared = nearer(policy->spared, SHARE_ALL / PAGE_LINES * (PAGE_LINES - lines));
}

bool lines_policy_sends_lines(uint64_t mask)
{
	return __builtin_popcountll(mask) <= SENT_LINES_MAX;
}
