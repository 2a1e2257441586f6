/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/option.h"
#include "suite.h"

struct target {
	bool loud;
	const char *name;
	unsigned long count;
};

static int take_loud(void *target, const char *text, struct error *why)
{
	ck_assert_ptr_null(text);
	((struct target *)target)->loud = true;
	return 0;
}

static int take_name(void *target, const char *text, struct error *why)
{
	((struct target *)target)->name = text;
	return 0;
}

static int take_count(void *target, const char *text, struct error *why)
{
	return option_parse_number(text, 1, 9, &((struct target *)target)->count, why);
}

static const struct option_spec specs[] = {
	{ "loud", NULL, "say more", take_loud },
	{ "name", "NAME", "who", take_name },
	{ "count", "N", "how many", take_count },
};

/* Splits `line` at spaces into argv behind a command name, and parses it. */
static int parse(const char *line, struct target *target, int *ret_first, bool *ret_help,
		 struct error *why)
{
	static char words[256];
	static char *argv[32];
	int argc = 0;
	char *word;

	snprintf(words, sizeof(words), "cmd %s", line);
	for (word = strtok(words, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	memset(target, 0, sizeof(*target));
	return option_parse(specs, ARRAY_COUNT(specs), argc, argv, target, ret_first, ret_help,
			    why);
}

START_TEST(test_takes_values_in_both_spellings)
{
	struct target target;
	struct error why;
	bool help;
	int first;

	ck_assert_int_eq(parse("--loud --name=x --count 3 rest", &target, &first, &help, &why), 0);
	ck_assert(target.loud);
	ck_assert_str_eq(target.name, "x");
	ck_assert_uint_eq(target.count, 3);
	ck_assert_int_eq(first, 5);
	ck_assert(!help);
}
END_TEST

START_TEST(test_stops_at_the_command)
{
	struct target target;
	struct error why;
	bool help;
	int first;

	/* The command's own options stay its own, with "--" and without. */
	ck_assert_int_eq(parse("prog --loud", &target, &first, &help, &why), 0);
	ck_assert_int_eq(first, 1);
	ck_assert(!target.loud);
	ck_assert_int_eq(parse("--count 2 -- --loud", &target, &first, &help, &why), 0);
	ck_assert_int_eq(first, 4);
	ck_assert(!target.loud);
	ck_assert_int_eq(parse("", &target, &first, &help, &why), 0);
	ck_assert_int_eq(first, 1);
}
END_TEST

static const struct {
	const char *line, *quoted;
} refusals[] = {
	{ "--lood", "\"--lood\"" },
	{ "--loud=3", "\"--loud=3\"" },
	{ "--name", "\"--name\" needs a value" },
	{ "-x", "\"-x\"" },
	{ "--count 0", "--count: \"0\" is no number from 1 to 9" },
	{ "--count 10", "\"10\"" },
	{ "--count 3x", "\"3x\"" },
	{ "--count -3", "\"-3\"" },
	{ "--count 99999999999999999999999", "\"99999999999999999999999\"" },
};

START_TEST(test_refuses_and_quotes)
{
	struct target target;
	struct error why;
	bool help;
	int first;

	ck_assert_int_eq(parse(refusals[_i].line, &target, &first, &help, &why), -EINVAL);
	ck_assert_msg(strstr(why.text, refusals[_i].quoted), "\"%s\" gave: %s", refusals[_i].line,
		      why.text);
}
END_TEST

START_TEST(test_help_wins)
{
	struct target target;
	struct error why;
	bool help;
	int first;

	ck_assert_int_eq(parse("--loud --help --nonsense", &target, &first, &help, &why), 0);
	ck_assert(help);
}
END_TEST

START_TEST(test_help_names_every_option)
{
	char *text = NULL;
	size_t length, i;
	FILE *out = open_memstream(&text, &length);

	option_print(specs, ARRAY_COUNT(specs), out);
	fclose(out);
	for (i = 0; i < ARRAY_COUNT(specs); i++) {
		ck_assert_ptr_nonnull(strstr(text, specs[i].name));
		ck_assert_ptr_nonnull(strstr(text, specs[i].help));
	}
	ck_assert_ptr_nonnull(strstr(text, "--help"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("option");
	TCase *tcase = tcase_create("option");

	tcase_add_test(tcase, test_takes_values_in_both_spellings);
	tcase_add_test(tcase, test_stops_at_the_command);
	tcase_add_loop_test(tcase, test_refuses_and_quotes, 0, (int)ARRAY_COUNT(refusals));
	tcase_add_test(tcase, test_help_wins);
	tcase_add_test(tcase, test_help_names_every_option);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
