/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_digest.h"

#include <check.h>
#include <string.h>

#include "base/random.h"
#include "suite.h"

#define WORDS 512
#define MODEL_STEPS 20000

static struct page_digest_key key;
static uint64_t page[WORDS + 1];

static void fill(struct random_source *random)
{
	random_fill(random, key.words, sizeof(key.words));
	random_fill(random, key.fold, sizeof(key.fold));
	random_fill(random, page, sizeof(page));
}

/* 128-bit arithmetic from 64-bit halves: another way to the same sums. */
struct halves {
	uint64_t high, low;
};

static struct halves multiply(uint64_t a, uint64_t b)
{
	uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
	uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
	uint64_t middle_low = (uint32_t)middle + a0 * b1;

	return (struct halves){.high = a1 * b1 + (middle >> 32) + (middle_low >> 32),
			       .low = a * b};
}

static struct halves add(struct halves a, struct halves b)
{
	struct halves sum = {.high = a.high + b.high, .low = a.low + b.low};

	sum.high += sum.low < a.low;
	return sum;
}

static struct halves fold_key(uint32_t index)
{
	return (struct halves){.high = (uint64_t)(key.fold[index] >> 64),
			       .low = (uint64_t)key.fold[index]};
}

static struct halves multiply_wide(uint64_t a, struct halves b)
{
	struct halves product = multiply(a, b.low);

	product.high += a * b.high;
	return product;
}

/* The definition, word pair by word pair. */
static uint64_t plain_digest(const uint64_t *words)
{
	struct halves sum = {0}, folded;

	for (uint32_t i = 0; i < WORDS; i += 2)
		sum = add(sum, multiply(words[i] + key.words[i], words[i + 1] + key.words[i + 1]));
	folded = add(fold_key(0), multiply_wide(sum.low, fold_key(1)));
	folded = add(folded, multiply_wide(sum.high, fold_key(2)));
	return folded.high;
}

static void change(struct random_source *random)
{
	uint64_t at = random_below(random, WORDS);

	switch (random_below(random, 4)) {
	case 0:
		page[at] ^= 1ull << random_below(random, 64);
		return;
	case 1:
		page[at] = 0;
		return;
	case 2:
		page[at] = UINT64_MAX;
		return;
	default:
		page[at] = random_next(random);
	}
}

/* A change is seen, the change back as well, and the digest is that of the definition. */
START_TEST(test_random_changes_match_the_definition)
{
	struct random_source random = random_from_seed((uint64_t)_i + 1);
	uint64_t before[WORDS], digest;

	fill(&random);
	digest = page_digest(&key, page);
	for (uint32_t n = 0; n < MODEL_STEPS; n++) {
		uint64_t now;

		memcpy(before, page, sizeof(before));
		change(&random);
		now = page_digest(&key, page);
		ck_assert_uint_eq(now, plain_digest(page));
		ck_assert_int_eq(now == digest, !memcmp(before, page, sizeof(before)));
		ck_assert_uint_eq(page_digest(&key, before), digest);
		digest = now;
	}
}
END_TEST

START_TEST(test_every_bit_counts)
{
	struct random_source random = random_from_seed(5);
	uint64_t digest;

	fill(&random);
	memset(page, 0, sizeof(page));
	digest = page_digest(&key, page);
	for (uint32_t bit = 0; bit < WORDS * 64; bit++) {
		page[bit / 64] = 1ull << bit % 64;
		ck_assert_uint_ne(page_digest(&key, page), digest);
		ck_assert(!page_is_zero(page));
		page[bit / 64] = 0;
	}
	ck_assert(page_is_zero(page));
}
END_TEST

/* Exchanged words, and one key against another: what a plain sum would not tell apart. */
START_TEST(test_place_and_key_count)
{
	struct random_source random = random_from_seed(6);
	uint64_t digest, word;

	fill(&random);
	for (uint32_t i = 0; i < WORDS; i++)
		page[i] = i;
	digest = page_digest(&key, page);
	for (uint32_t i = 0; i + 4 < WORDS; i++) {
		for (uint32_t step = 1; step <= 4; step++) {
			word = page[i];
			page[i] = page[i + step];
			page[i + step] = word;
			ck_assert_uint_ne(page_digest(&key, page), digest);
			page[i + step] = page[i];
			page[i] = word;
		}
	}
	ck_assert_uint_eq(page_digest(&key, page), digest);
	for (uint32_t i = 0; i < WORDS; i++) {
		key.words[i] ^= 1;
		ck_assert_uint_ne(page_digest(&key, page), digest);
		key.words[i] ^= 1;
	}
}
END_TEST

/* 8 bytes are all the alignment it needs, and the word behind the page is none of it. */
START_TEST(test_only_the_page_is_read)
{
	struct random_source random = random_from_seed(7);
	uint64_t digest;

	fill(&random);
	digest = page_digest(&key, page + 1);
	ck_assert_uint_eq(digest, plain_digest(page + 1));
	page[0] ^= 1;
	ck_assert_uint_eq(page_digest(&key, page + 1), digest);
	memset(page, 0, sizeof(page));
	page[WORDS] = 1;
	ck_assert(page_is_zero(page));
	ck_assert(!page_is_zero(page + 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("page_digest");
	TCase *tcase = tcase_create("page_digest");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_random_changes_match_the_definition, 0, 2);
	tcase_add_test(tcase, test_every_bit_counts);
	tcase_add_test(tcase, test_place_and_key_count);
	tcase_add_test(tcase, test_only_the_page_is_read);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
