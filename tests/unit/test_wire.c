/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/wire.h"
#include "suite.h"

#define ANY (WIRE_BIT(WIRE_TYPES) - 2)

static void expect_bytes(const void *message, size_t bytes, const char *hex)
{
	char text[2 * WIRE_MESSAGE_BYTES_MAX + 1];

	for (size_t i = 0; i < bytes; i++)
		sprintf(text + 2 * i, "%02x", ((const uint8_t *)message)[i]);
	ck_assert_str_eq(text, hex);
}

/* Version 2 as it is on the wire. These texts never change: a change is a new version. */
START_TEST(test_golden_bytes)
{
	struct wire_hello hello = { .header = wire_header_of(WIRE_HELLO),
				    .session = le64_of(0x1122334455667788),
				    .transports = le32_of(5),
				    .pid = le32_of(4242) };
	struct wire_extend extend = { .header = wire_header_of(WIRE_EXTEND),
				      .bytes = le64_of(64 * MIB) };
	struct wire_extended extended = { .header = wire_header_of(WIRE_EXTENDED),
					  .result = le32_of(28),
					  .bytes = le64_of(16 * MIB),
					  .words = "has no room" };
	struct wire_ring ring = { .header = wire_header_of(WIRE_RING) };
	struct wire_stored stored = { .header = wire_header_of(WIRE_STORED) };

	memset(hello.nonce, 0xa1, sizeof(hello.nonce));
	memset(hello.boot_id, 0xb2, sizeof(hello.boot_id));
	memset(hello.proof, 0xc3, sizeof(hello.proof));
	expect_bytes(&hello, sizeof(hello),
		     "5064724e020002007000000000000000"
		     "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
		     "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"
		     "887766554433221105000000"
		     "92100000"
		     "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3");
	expect_bytes(&extend, sizeof(extend), "5064724e0200040018000000000000000000000400000000");
	expect_bytes(&extended, 48,
		     "5064724e02000500e800000000000000"
		     "1c00000000000000"
		     "0000000100000000"
		     "686173206e6f20726f6f6d0000000000");
	expect_bytes(&ring, sizeof(ring), "5064724e020006001000000000000000");
	expect_bytes(&stored, sizeof(stored), "5064724e020008001000000000000000");
}
END_TEST

START_TEST(test_places_in_the_welcome)
{
	ck_assert_uint_eq(offsetof(struct wire_welcome, result), 16);
	ck_assert_uint_eq(offsetof(struct wire_welcome, session), 24);
	ck_assert_uint_eq(offsetof(struct wire_welcome, quota_bytes), 32);
	ck_assert_uint_eq(offsetof(struct wire_welcome, secret), 40);
	ck_assert_uint_eq(offsetof(struct wire_welcome, addresses), 72);
	ck_assert_uint_eq(offsetof(struct wire_welcome, words), 528);
	ck_assert_uint_eq(offsetof(struct wire_welcome, proof), 728);
	ck_assert_uint_eq(offsetof(struct wire_address, data), 24);
	ck_assert_uint_eq(offsetof(struct wire_challenge, nonce), 16);
	ck_assert_uint_eq(offsetof(struct wire_challenge, boot_id), 48);
}
END_TEST

START_TEST(test_every_cut_of_every_type)
{
	uint8_t message[WIRE_MESSAGE_BYTES_MAX] = { 0 };
	struct wire_header header = wire_header_of((enum wire_type)_i);
	enum wire_type type = WIRE_TYPES;

	memcpy(message, &header, sizeof(header));
	for (size_t bytes = 0; bytes < wire_bytes_of((unsigned)_i); bytes++)
		ck_assert_int_eq(wire_look(message, bytes, ANY, &type), -EAGAIN);
	ck_assert_int_eq(type, WIRE_TYPES);
	ck_assert_int_eq(wire_look(message, sizeof(message), ANY, &type), 0);
	ck_assert_int_eq((int)type, _i);
	ck_assert_int_eq(wire_look(message, sizeof(message), ANY & ~WIRE_BIT(_i), &type), -EPROTO);
}
END_TEST

START_TEST(test_rubbish_is_told_at_once)
{
	struct wire_extend right = { .header = wire_header_of(WIRE_EXTEND) };
	struct wire_extend wrong;
	enum wire_type type;

	ck_assert_int_eq(wire_look("x", 1, ANY, &type), -EPROTO);
	ck_assert_int_eq(wire_look("PdX", 3, ANY, &type), -EPROTO);
	wrong = right;
	wrong.header.version = le16_of(WIRE_VERSION + 1);
	ck_assert_int_eq(wire_look(&wrong, sizeof(wrong), ANY, &type), -EPROTONOSUPPORT);
	for (unsigned bad = 0; bad < 3; bad++) {
		static const uint16_t types[] = { 0, WIRE_TYPES, 0xffff };

		wrong = right;
		wrong.header.type = le16_of(types[bad]);
		ck_assert_int_eq(wire_look(&wrong, 16, ANY, &type), -EPROTO);
	}
	wrong = right;
	wrong.header.bytes = le32_of(sizeof(wrong) + 1);
	ck_assert_int_eq(wire_look(&wrong, 16, ANY, &type), -EPROTO);
	wrong = right;
	wrong.header.reserved = le32_of(1);
	ck_assert_int_eq(wire_look(&wrong, 16, ANY, &type), -EPROTO);
}
END_TEST

START_TEST(test_words_are_made_harmless)
{
	char words[WIRE_WORDS_BYTES], text[WIRE_WORDS_BYTES];

	memset(words, 'x', sizeof(words));
	wire_words(words, text);
	ck_assert_uint_eq(strlen(text), WIRE_WORDS_BYTES - 1);
	strcpy(words, "a\033[2J\nb\377");
	wire_words(words, text);
	ck_assert_str_eq(text, "a?[2J?b?");
}
END_TEST

START_TEST(test_proofs_are_compared_whole)
{
	uint8_t a[WIRE_PROOF_BYTES] = { 1 }, b[WIRE_PROOF_BYTES] = { 1 };

	ck_assert(wire_proof_equal(a, b));
	for (unsigned i = 0; i < WIRE_PROOF_BYTES; i++) {
		b[i] ^= 0x80;
		ck_assert(!wire_proof_equal(a, b));
		b[i] ^= 0x80;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("wire");
	TCase *tcase = tcase_create("wire");

	tcase_add_test(tcase, test_golden_bytes);
	tcase_add_test(tcase, test_places_in_the_welcome);
	tcase_add_loop_test(tcase, test_every_cut_of_every_type, 1, WIRE_TYPES);
	tcase_add_test(tcase, test_rubbish_is_told_at_once);
	tcase_add_test(tcase, test_words_are_made_harmless);
	tcase_add_test(tcase, test_proofs_are_compared_whole);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
