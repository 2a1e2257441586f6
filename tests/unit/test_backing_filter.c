/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static const struct conformance_case cases[] = {
	{.uri = "delay:0:mem:", .bounded = true},
	{.uri = "delay:20us,jitter=20us,bandwidth=4G:mem:", .bounded = true},
	{.uri = "error:p=0:mem:", .bounded = true},
	{.uri = "delay:10us:error:p=0:file:.?size=1G", .bounded = true},
};

struct session {
	struct backing *backing;
	struct backing_channel *channel;
	uint8_t *page;
};

static struct session open_session(const char *uri, uint64_t slot_count)
{
	struct session s = {.backing = conformance_open(uri, NULL), .page = conformance_pages()};

	ck_assert_int_eq(s.backing->ops->reserve(s.backing, slot_count, NULL), 0);
	s.channel = conformance_channel(s.backing);
	return s;
}

static void close_session(struct session *s)
{
	s->channel->ops->channel_close(s->channel);
	backing_close(s->backing);
}

static int store(struct session *s, uint64_t slot)
{
	conformance_fill_page(s->page, slot);
	return conformance_move(s->channel, BACKING_STORE, slot, 1, s->page);
}

static int fetch(struct session *s, uint64_t slot)
{
	return conformance_move(s->channel, BACKING_FETCH, slot, 1, s->page);
}

START_TEST(delay_waits_and_lets_others_pass)
{
	struct session s = open_session("delay:20ms,verb=fetch:mem:", 8);
	uint64_t start_ns = clock_now_ns();

	ck_assert_int_eq(store(&s, 1), 0);
	ck_assert_uint_lt(clock_now_ns() - start_ns, 15000000);
	start_ns = clock_now_ns();
	ck_assert_int_eq(fetch(&s, 1), 0);
	ck_assert_uint_ge(clock_now_ns() - start_ns, 20000000);
	conformance_check_page(s.page, 1);
	close_session(&s);
}
END_TEST

START_TEST(delayed_ios_overlap_and_keep_their_order)
{
	struct session s = open_session("delay:20ms,jitter=5ms:mem:", 64);
	struct backing_io ios[32];
	uint64_t start_ns = clock_now_ns();
	size_t done = 0;

	for (uint64_t i = 0; i < ARRAY_COUNT(ios); i++) {
		ios[i] = (struct backing_io){
			.verb = BACKING_STORE, .slot = i, .page_count = 1, .pages = s.page};
		ck_assert_int_eq(s.channel->ops->submit(s.channel, &ios[i]), 0);
		ck_assert_int_eq(ios[i].result, BACKING_PENDING);
	}
	while (done < ARRAY_COUNT(ios)) {
		bool pending = false;

		s.channel->ops->poll(s.channel);
		for (size_t i = 0; i < ARRAY_COUNT(ios); i++) {
			if (ios[i].result == BACKING_PENDING)
				pending = true;
			else
				ck_assert_msg(!pending, "io %zu overtook another", i);
			if (!pending && i >= done)
				done = i + 1;
		}
	}
	ck_assert_uint_ge(clock_now_ns() - start_ns, 20000000);
	ck_assert_uint_lt(clock_now_ns() - start_ns, ARRAY_COUNT(ios) * 20000000);
	close_session(&s);
}
END_TEST

START_TEST(bandwidth_is_of_all_channels_together)
{
	/* 1 MiB in 4 runs over 2 channels at 10 MiB a second takes a tenth of a second. */
	struct session s = open_session("delay:0,bandwidth=10M:mem:", 256);
	struct backing_channel *other = conformance_channel(s.backing);
	struct backing_io ios[8];
	uint64_t start_ns = clock_now_ns(), took_ns;

	for (uint64_t i = 0; i < ARRAY_COUNT(ios); i++) {
		struct backing_channel *channel = i % 2 ? other : s.channel;

		ios[i] = (struct backing_io){
			.verb = BACKING_STORE, .slot = i * 32, .page_count = 32, .pages = s.page};
		ck_assert_int_eq(channel->ops->submit(channel, &ios[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_COUNT(ios); i++)
		ck_assert_int_eq(conformance_wait(i % 2 ? other : s.channel, &ios[i]), 0);
	took_ns = clock_now_ns() - start_ns;
	ck_assert_uint_ge(took_ns, 99000000);
	ck_assert_uint_lt(took_ns, 1000000000);
	other->ops->channel_close(other);
	close_session(&s);
}
END_TEST

/* Which of `count` fetches fail, as text: "..x.x". */
static void outcomes(const char *uri, uint32_t count, int error, char *ret_text)
{
	struct session s = open_session(uri, 8);

	for (uint32_t i = 0; i < count; i++) {
		int result = store(&s, i % 8);

		if (result)
			ck_assert_int_eq(result, error);
		ret_text[i] = result ? 'x' : '.';
	}
	ret_text[count] = '\0';
	close_session(&s);
}

START_TEST(triggers_strike_when_they_say)
{
	char text[1001], again[1001];
	size_t struck = 0;

	outcomes("error:after=3:mem:", 8, -EIO, text);
	ck_assert_str_eq(text, "...xxxxx");
	outcomes("error:every=3:mem:", 8, -EIO, text);
	ck_assert_str_eq(text, "..x..x..");
	outcomes("error:every=4,after=6,verb=store:mem:", 8, -EIO, text);
	ck_assert_str_eq(text, "...x..xx");
	outcomes("error:every=1,verb=fetch:mem:", 4, -EIO, text);
	ck_assert_str_eq(text, "....");
	outcomes("error:p=1:mem:", 4, -EIO, text);
	ck_assert_str_eq(text, "xxxx");
	outcomes("error:p=1,kind=nospace:mem:", 4, -ENOSPC, text);
	ck_assert_str_eq(text, "xxxx");
	outcomes("error:p=0.1:mem:", 1000, -EIO, text);
	for (size_t i = 0; i < 1000; i++)
		struck += text[i] == 'x';
	ck_assert_uint_gt(struck, 60);
	ck_assert_uint_lt(struck, 140);
	outcomes("error:p=0.1:mem:", 1000, -EIO, again);
	ck_assert_str_eq(text, again);
	outcomes("error:p=0.1,seed=2:mem:", 1000, -EIO, again);
	ck_assert_str_ne(text, again);
}
END_TEST

START_TEST(a_trigger_file_strikes_while_it_is_there)
{
	char path[64], uri[128];
	struct session s;
	int fd;

	snprintf(path, sizeof(path), "/tmp/perdure-trigger-%d", getpid());
	snprintf(uri, sizeof(uri), "error:file=%s:mem:", path);
	s = open_session(uri, 8);
	ck_assert_int_eq(store(&s, 1), 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	usleep(3000);
	ck_assert_int_eq(store(&s, 1), -EIO);
	ck_assert_int_eq(fetch(&s, 1), -EIO);
	unlink(path);
	usleep(3000);
	ck_assert_int_eq(fetch(&s, 1), 0);
	conformance_check_page(s.page, 1);
	close_session(&s);
}
END_TEST

START_TEST(lost_is_for_good_and_for_all)
{
	struct session s = open_session("error:after=2,kind=lost:mem:", 8);
	struct backing_channel *other = conformance_channel(s.backing);
	struct backing_channel *late;
	struct error why = {0};
	int status;
	pid_t pid;

	ck_assert_int_eq(store(&s, 1), 0);
	ck_assert_int_eq(store(&s, 2), 0);
	ck_assert_int_eq(fetch(&s, 1), -ECONNRESET);
	ck_assert_int_eq(fetch(&s, 1), -ECONNRESET);
	ck_assert_int_eq(conformance_move(other, BACKING_FETCH, 2, 1, s.page), -ECONNRESET);
	ck_assert_int_eq(s.backing->ops->channel_open(s.backing, &late, &why), -ECONNRESET);
	ck_assert_ptr_nonnull(strstr(why.text, "lost"));
	ck_assert_int_eq(s.backing->ops->reserve(s.backing, 100, &why), -ECONNRESET);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(s.backing->ops->reattach(s.backing, NULL, &why) == -ECONNRESET ? 0 : 1);
	waitpid(pid, &status, 0);
	ck_assert_int_eq(status, 0);
	other->ops->channel_close(other);
	close_session(&s);
}
END_TEST

START_TEST(corrupt_changes_one_byte_of_what_is_fetched)
{
	struct session s = open_session("error:p=1,kind=corrupt:mem:", 64);
	uint8_t wanted[32 * PAGE_BYTES];
	size_t wrong = 0;

	for (uint64_t i = 0; i < 32; i++)
		conformance_fill_page(s.page + i * PAGE_BYTES, i);
	memcpy(wanted, s.page, sizeof(wanted));
	ck_assert_int_eq(conformance_move(s.channel, BACKING_STORE, 0, 32, s.page), 0);
	ck_assert(!memcmp(s.page, wanted, sizeof(wanted)));
	ck_assert_int_eq(conformance_move(s.channel, BACKING_FETCH, 0, 32, s.page), 0);
	for (size_t i = 0; i < sizeof(wanted); i++)
		wrong += s.page[i] != wanted[i];
	ck_assert_uint_eq(wrong, 1);
	close_session(&s);
}
END_TEST

START_TEST(hang_ends_with_the_channel)
{
	struct session s = open_session("error:after=1,kind=hang:mem:", 128);
	struct backing_io ios[BACKING_CHANNEL_DEPTH + 1];

	ck_assert_int_eq(store(&s, 1), 0);
	for (uint64_t i = 0; i <= BACKING_CHANNEL_DEPTH; i++) {
		ios[i] = (struct backing_io){
			.verb = BACKING_FETCH, .slot = 1, .page_count = 1, .pages = s.page};
		ck_assert_int_eq(s.channel->ops->submit(s.channel, &ios[i]),
				 i < BACKING_CHANNEL_DEPTH ? 0 : -EAGAIN);
	}
	usleep(2000);
	s.channel->ops->poll(s.channel);
	for (uint64_t i = 0; i < BACKING_CHANNEL_DEPTH; i++)
		ck_assert_int_eq(ios[i].result, BACKING_PENDING);
	s.channel->ops->channel_close(s.channel);
	for (uint64_t i = 0; i < BACKING_CHANNEL_DEPTH; i++)
		ck_assert_int_eq(ios[i].result, BACKING_PENDING);
	backing_close(s.backing);
}
END_TEST

START_TEST(what_is_held_is_that_of_the_inner_one)
{
	struct session s = open_session("delay:0:error:p=0:mem:", 8192);
	uint64_t empty = s.backing->ops->bytes_held(s.backing);

	for (uint64_t i = 0; i < 8192; i++)
		ck_assert_int_eq(store(&s, i), 0);
	ck_assert_uint_gt(s.backing->ops->bytes_held(s.backing), empty + 4 * MIB);
	s.backing->ops->discard(s.backing, 0, 8192);
	ck_assert_uint_lt(s.backing->ops->bytes_held(s.backing), 8 * MIB);
	close_session(&s);
}
END_TEST

int main(void)
{
	Suite *suite = conformance_suite("backing_filter", cases, ARRAY_COUNT(cases));
	TCase *tcase = tcase_create("filters");

	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, delay_waits_and_lets_others_pass);
	tcase_add_test(tcase, delayed_ios_overlap_and_keep_their_order);
	tcase_add_test(tcase, bandwidth_is_of_all_channels_together);
	tcase_add_test(tcase, triggers_strike_when_they_say);
	tcase_add_test(tcase, a_trigger_file_strikes_while_it_is_there);
	tcase_add_test(tcase, lost_is_for_good_and_for_all);
	tcase_add_test(tcase, corrupt_changes_one_byte_of_what_is_fetched);
	tcase_add_test(tcase, hang_ends_with_the_channel);
	tcase_add_test(tcase, what_is_held_is_that_of_the_inner_one);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
