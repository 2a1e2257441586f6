/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "backing/backing.h"
#include "base/bytes.h"
#include "suite.h"

static const char *const good[] = {
	"mem:",
	"mem:4M",
	"mem:4G",
	"file:/var/tmp",
	"file:relative/name",
	"file:/a:b?size=10G",
	"file:/dev/nvme0n1?overwrite=yes&io=uring",
	"file:/x?io=sync&size=1G",
	"delay:200us:mem:",
	"delay:0:mem:",
	"delay:1ms,jitter=50us,bandwidth=100M,verb=fetch:file:/x",
	"error:p=0.01:mem:",
	"error:p=1:mem:",
	"error:p=0:mem:",
	"error:after=1000,kind=lost:mem:",
	"error:every=3,verb=store,seed=7:mem:",
	"error:file=/tmp/fail,kind=hang:mem:",
	"error:p=0.5,kind=corrupt,verb=fetch:mem:",
	"error:after=0,kind=nospace:mem:",
	"delay:1ms:error:p=0.1:mem:",
	"delay:1ms:delay:1ms:delay:1ms:error:p=0.1:error:after=3:mem:64M",
};

struct bad {
	const char *uri;
	const char *words; /* somewhere in what is said */
};

static const struct bad bad[] = {
	{"", "no \"scheme:\""},
	{"mem", "\"mem\""},
	{"nod://x", "bad backing URI \"nod://x\": unknown scheme \"nod\"; known: mem, file, node, "
		    "delay, error"},
	{"mem:\n4G", "\"mem:...\": a control character"},
	{":x", "unknown scheme \"\""},
	{"memo:", "unknown scheme \"memo\""},
	{"mem:4X", "\"mem:4X\": bad size \"4X\""},
	{"mem:1M", "a pool has 4M"},
	{"mem:9999999T", "a pool has"},
	{"mem:99999999999T", "too large"},
	{"mem: 4G", "bad size"},
	{"file:", "no path"},
	{"file:?size=1G", "no path"},
	{"file:/x?size=big", "bad size \"big\""},
	{"file:/x?size", "bad size"},
	{"file:/x?overwrite=perhaps", "unknown option \"overwrite\""},
	{"file:/x?io=magic", "unknown option"},
	{"file:/x?", "unknown option"},
	{"delay:200us", "no backing to wrap"},
	{"delay:200us:", "no backing to wrap"},
	{"delay:mem:", "no backing to wrap"},
	{"delay:5:mem:", "bad duration \"5\""},
	{"delay::mem:", "bad duration \"\""},
	{"delay:jitter=5us:mem:", "a time comes first"},
	{"delay:2m:mem:", "more than a minute"},
	{"delay:1ms,jitter=2m:mem:", "more than a minute"},
	{"delay:1ms,bandwidth=0:mem:", "bad bandwidth"},
	{"delay:1ms,bandwidth:mem:", "bad bandwidth"},
	{"delay:1ms,verb=load:mem:", "unknown option \"verb\""},
	{"delay:1ms,:mem:", "unknown option \"\""},
	{"delay:1ms:nod:x", "unknown scheme \"nod\""},
	{"delay:1ms:error:p=2:mem:", "bad p=2"},
	{"error:p=0.01", "no backing to wrap"},
	{"error:p=1.5:mem:", "bad p=1.5"},
	{"error:p=-1:mem:", "bad p="},
	{"error:p=.5:mem:", "bad p="},
	{"error:p=0.:mem:", "bad p="},
	{"error:p=0.1e5:mem:", "bad p="},
	{"error:p:mem:", "bad p="},
	{"error:kind=io:mem:", "not when to fail"},
	{"error:p=1,kind=odd:mem:", "unknown option \"kind=odd\""},
	{"error:every=0:mem:", "every=0"},
	{"error:after=x:mem:", "bad size \"x\""},
	{"error:file=:mem:", "needs a path"},
	{"error:p=1,kind=corrupt,verb=store:mem:", "kind=corrupt is not for that verb"},
	{"error:p=1,kind=nospace,verb=fetch:mem:", "kind=nospace is not for that verb"},
	{"error:p=1:error:p=1:error:p=1:mem:1", "\"mem:1\": a pool has"},
};

START_TEST(good_uris_are_understood)
{
	struct error why = {0};

	ck_assert_msg(!backing_check_uri(good[_i], &why), "%s", why.text);
}
END_TEST

START_TEST(bad_uris_are_refused_in_words)
{
	struct backing_options options = {.wait_ms_max = 1000};
	struct error why = {0}, why_open = {0};
	struct backing *backing = NULL;

	ck_assert_msg(backing_check_uri(bad[_i].uri, &why) == -EINVAL, "understood: %s",
		      bad[_i].uri);
	ck_assert_msg(strstr(why.text, bad[_i].words) != NULL, "%s: %s", bad[_i].uri, why.text);
	ck_assert_ptr_null(strchr(why.text, '\n'));
	/* To open it says the same, and opens nothing. */
	ck_assert_int_eq(backing_open(bad[_i].uri, &options, &backing, &why_open), -EINVAL);
	ck_assert_str_eq(why.text, why_open.text);
	ck_assert_ptr_null(backing);
	ck_assert_int_eq(backing_check_uri(bad[_i].uri, NULL), -EINVAL);
}
END_TEST

START_TEST(a_long_uri_is_cut_in_the_words)
{
	char uri[BACKING_URI_BYTES + 1];
	struct error why = {0};

	memset(uri, 'x', sizeof(uri));
	memcpy(uri, "mem:", 4);
	uri[BACKING_URI_BYTES] = '\0';
	ck_assert_int_eq(backing_check_uri(uri, &why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "the limit is 255"));
	/* The longest that is taken; the reason is still there behind it. */
	uri[BACKING_URI_BYTES - 1] = '\0';
	ck_assert_int_eq(backing_check_uri(uri, &why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "..."));
	ck_assert_ptr_nonnull(strstr(why.text, "bad size"));
}
END_TEST

START_TEST(filters_nest_as_deep_as_a_uri_goes)
{
	char uri[BACKING_URI_BYTES] = "";
	struct error why = {0};

	while (strlen(uri) + strlen("delay:0:") + strlen("mem:") < sizeof(uri))
		strcat(uri, "delay:0:");
	strcat(uri, "mem:");
	ck_assert_msg(!backing_check_uri(uri, &why), "%s", why.text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("backing_uri");
	TCase *tcase = tcase_create("backing_uri");

	tcase_add_loop_test(tcase, good_uris_are_understood, 0, ARRAY_COUNT(good));
	tcase_add_loop_test(tcase, bad_uris_are_refused_in_words, 0, ARRAY_COUNT(bad));
	tcase_add_test(tcase, a_long_uri_is_cut_in_the_words);
	tcase_add_test(tcase, filters_nest_as_deep_as_a_uri_goes);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
