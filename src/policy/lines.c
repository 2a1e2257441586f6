/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lines.h"

#define LINES_PER_PAGE 64
#define SPARED_ALL 65536u
#define SPARED_WORTH (SPARED_ALL / 8) /* under it a fetch pays more than a store gains */
#define NOTE_WEIGHT 64		      /* one page counts so much against those before */
#define PASSED_MAX 32		      /* one page in so many finds out */
#define SENT_LINES_MAX (LINES_PER_PAGE / 2)

void lines_policy_init(struct lines_policy *policy)
{
	*policy = (struct lines_policy){ .spared = SPARED_ALL / 2 };
}

bool lines_policy_is_worth(const struct lines_policy *policy)
{
	return policy->spared >= SPARED_WORTH;
}

bool lines_policy_wants(struct lines_policy *policy)
{
	if (!lines_policy_is_worth(policy) && ++policy->passed < PASSED_MAX)
		return false;
	policy->passed = 0;
	return true;
}

void lines_policy_note(struct lines_policy *policy, uint32_t lines)
{
	uint32_t spared = lines ? SPARED_ALL / LINES_PER_PAGE * (LINES_PER_PAGE - lines) : 0;

	policy->spared = (uint32_t)((int64_t)policy->spared +
				    ((int64_t)spared - policy->spared) / NOTE_WEIGHT);
}

bool lines_policy_sends_lines(uint64_t mask)
{
	return __builtin_popcountll(mask) <= SENT_LINES_MAX;
}
