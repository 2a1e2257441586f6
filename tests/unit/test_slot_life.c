/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <unistd.h>

#include "slot_fixture.h"
#include "suite.h"

/* A copy is of a session; what a later session has at its place is not it. */
START_TEST(test_copies_live_and_die_with_the_session)
{
	const uint8_t ticket[SLOT_TICKET_BYTES] = "of the next session";
	uint8_t found[SLOT_TICKET_BYTES];
	struct slot_copy old = {.backing = 1, .session = 0, .extent = 0};
	struct slot_copy new = {.backing = 1, .session = 1, .extent = 0};

	ck_assert(slot_map_is_live(map, old));
	ck_assert_int_eq(slot_map_worsen(map, 1, 0, SLOT_BACKING_FAILING), 1);
	ck_assert(!slot_map_is_live(map, old) && slot_map_is_readable(map, old));
	ck_assert_int_eq(slot_map_worsen(map, 1, 0, SLOT_BACKING_FAILING), -ESTALE);
	ck_assert(slot_map_revive(map, 1, 0));
	ck_assert(slot_map_is_live(map, old));
	ck_assert_int_eq(slot_map_worsen(map, 1, 0, SLOT_BACKING_LOST), 1);
	ck_assert(!slot_map_is_readable(map, old));
	ck_assert(!slot_map_revive(map, 1, 0));
	ck_assert_uint_eq(slot_map_begin_session(map, 1, ticket), 1);
	ck_assert_uint_eq(slot_map_ticket(map, 1, found).session, 1);
	ck_assert_mem_eq(found, ticket, sizeof(ticket));
	ck_assert(slot_map_is_live(map, new) && !slot_map_is_readable(map, old));
	ck_assert_int_eq(slot_map_worsen(map, 1, 0, SLOT_BACKING_LOST), -ESTALE);
	ck_assert(slot_map_is_live(map, new));
}
END_TEST

START_TEST(test_redundant_copies_of_a_failing_backing_are_dropped)
{
	struct slot_copy pair[SLOT_COPIES_MAX] = {{.backing = 0}, {.backing = 1}};
	struct slot_copy alone[SLOT_COPIES_MAX] = {{.backing = 1, .extent = 1},
						   {.backing = SLOT_NO_BACKING}};
	struct slot_cursor cursor = {0};
	uint32_t member, first;

	ck_assert_int_eq(slot_map_join(map, &member), 0);
	ck_assert_int_eq(slot_map_add(map, member, pair, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 1, &first), 1);
	ck_assert_int_eq(slot_map_add(map, member, alone, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 1, &first), 1);
	slot_map_worsen(map, 1, 0, SLOT_BACKING_FAILING);
	ck_assert_uint_eq(slot_map_home(map, 0), 0);
	ck_assert_uint_eq(slot_map_home(map, 1), SLOT_NO_BACKING);
	ck_assert_uint_eq(slot_map_drop_redundant(map, 1), 1);
	ck_assert_uint_eq(slot_map_copy(map, 0, 1).backing, SLOT_NO_BACKING);
	ck_assert_uint_eq(slot_map_copy(map, 1, 0).backing, 1);
	slot_map_free(map, member, first);
	ck_assert_uint_eq(slot_map_drop_redundant(map, 1), 0);
}
END_TEST

/* An extent whose copies are gone is used again, but only once nobody uses it. */
START_TEST(test_lost_extent_is_used_again)
{
	struct slot_cursor cursor = {0}, other = {0};
	uint32_t member, first;

	ck_assert_int_eq(slot_map_join(map, &member), 0);
	ck_assert_int_eq(add_extent(member, 0, &cursor), 0);
	ck_assert_uint_eq(slot_map_take(map, member, &cursor, 1, &first), 1);
	slot_map_worsen(map, 0, 0, SLOT_BACKING_LOST);
	ck_assert_int_eq(slot_map_claim(map, member, 0, ~0u, &cursor), -ENOENT);
	ck_assert_int_eq(add_extent(member, 1, &other), 0);
	ck_assert_uint_eq(other.extent, 2);
	slot_map_free(map, member, first);
	/* Its store has not ended. */
	ck_assert_int_eq(add_extent(member, 1, &cursor), 0);
	ck_assert_uint_eq(cursor.extent, 3);
	slot_map_land(map, member, 0);
	slot_map_seal(map, 0);
	ck_assert_int_eq(add_extent(member, 1, &cursor), 0);
	ck_assert_uint_eq(cursor.extent, 4);
	slot_map_unseal(map, 0);
	ck_assert_int_eq(add_extent(member, 1, &cursor), 0);
	ck_assert_uint_eq(cursor.extent, 1);
	ck_assert_uint_eq(slot_map_home(map, 0), 1);
	ck_assert_uint_eq(map->extent_count, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slot_life");
	TCase *tcase = tcase_create("slot_life");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_copies_live_and_die_with_the_session);
	tcase_add_test(tcase, test_redundant_copies_of_a_failing_backing_are_dropped);
	tcase_add_test(tcase, test_lost_extent_is_used_again);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
