/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_LINES_H
#define POLICY_LINES_H

/*
 * Whether to keep a record of a page that comes from far memory, by which its changed lines are
 * found when it leaves: it costs a pass over the page, and memory. So it is kept while enough of
 * the pages that leave were changed, and their lines spared the transport enough, and now and then
 * otherwise, to notice when that changes. And what a page that was changed sends: its lines, or the
 * whole.
 *
 * Pure: the caller serialises the calls with one struct.
 */

#include <stdbool.h>
#include <stdint.h>

struct lines_policy {
	uint32_t changed; /* the share of far pages that came back and left changed, of 65536 */
	uint32_t spared;  /* the share of a changed page that its record spared, of 65536 */
	uint32_t passed; /* pages since the last that was recorded to find out */
};

/* Begins as if records were worth it: the first ones tell. */
void lines_policy_init(struct lines_policy *policy);

/* Whether they are worth it, by the latest. */
bool lines_policy_is_worth(const struct lines_policy *policy);

/* True if the page that comes now is to have a record. */
bool lines_policy_wants(struct lines_policy *policy);

/* A page that came from far has left, changed or not; with a record or without. */
void lines_policy_note(struct lines_policy *policy, bool changed);

/* A changed page that had a record has left: `lines` of its 64 were sent, 64 if it went whole. */
void lines_policy_note_lines(struct lines_policy *policy, uint32_t lines);

/* True if it is the lines of this mask that should go, and not the whole page. */
bool lines_policy_sends_lines(uint64_t mask);

#endif
