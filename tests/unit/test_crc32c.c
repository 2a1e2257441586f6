/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "suite.h"

/* The definition, a bit at a time. */
static uint32_t crc32c_by_bits(const uint8_t *bytes, size_t byte_count)
{
	uint32_t sum = UINT32_MAX;

	for (size_t i = 0; i < byte_count; i++) {
		sum ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? 0x82f63b78 : 0);
	}
	return ~sum;
}

START_TEST(published_values)
{
	uint8_t bytes[32];

	/* RFC 3720 B.4, and the check value of the CRC catalogues. */
	memset(bytes, 0, sizeof(bytes));
	ck_assert_uint_eq(crc32c(bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	ck_assert_uint_eq(crc32c(bytes, sizeof(bytes)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	ck_assert_uint_eq(crc32c(bytes, sizeof(bytes)), 0x46dd794e);
	ck_assert_uint_eq(crc32c("123456789", 9), 0xe3069283);
	ck_assert_uint_eq(crc32c(NULL, 0), 0);
}
END_TEST

START_TEST(any_length_any_alignment_in_pieces)
{
	struct random_source random = random_from_seed(3);
	uint8_t bytes[PAGE_BYTES + 64];

	random_fill(&random, bytes, sizeof(bytes));
	for (int i = 0; i < 2000; i++) {
		size_t at = random_below(&random, 64);
		size_t count = random_below(&random, i % 10 ? 200 : PAGE_BYTES);
		size_t cut = random_below(&random, count + 1);
		uint32_t sum = crc32c(bytes + at, count);

		ck_assert_uint_eq(sum, crc32c_by_bits(bytes + at, count));
		ck_assert_uint_eq(sum, crc32c_append(crc32c(bytes + at, cut), bytes + at + cut,
						     count - cut));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crc32c");
	TCase *tcase = tcase_create("crc32c");

	tcase_add_test(tcase, published_values);
	tcase_add_test(tcase, any_length_any_alignment_in_pieces);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
