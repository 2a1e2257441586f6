/* SPDX-License-Identifier: Apache-2.0 */

/* Events of input devices, through a pipe in place of one; button_device.sh has a real one. */

#include "persist/button.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "suite.h"

static struct input_event event(uint16_t type, uint16_t code, int32_t value)
{
	return (struct input_event){ .type = type, .code = code, .value = value };
}

static struct button button_of(int ends[2])
{
	struct button button = { .count = 1 };

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	button.fds[0] = ends[0];
	return button;
}

START_TEST(only_a_press_of_the_power_key_counts)
{
	static const struct {
		uint16_t type, code;
		int32_t value;
		bool counts;
	} rows[] = {
		{ EV_KEY, KEY_POWER, 1, true },	   { EV_KEY, KEY_POWER, 0, false },
		{ EV_KEY, KEY_POWER, 2, false },   { EV_KEY, KEY_SLEEP, 1, false },
		{ EV_KEY, KEY_A, 1, false },	   { EV_SYN, SYN_REPORT, 0, false },
		{ EV_SYN, SYN_DROPPED, 1, false }, { EV_SW, KEY_POWER, 1, false },
		{ EV_REL, KEY_POWER, 1, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct input_event one = event(rows[i].type, rows[i].code, rows[i].value);

		ck_assert_int_eq(button_is_pressed(&one, sizeof(one)), rows[i].counts);
		/* Cut short it is none. */
		ck_assert(!button_is_pressed(&one, sizeof(one) - 1));
	}
	ck_assert(!button_is_pressed(NULL, 0));
}
END_TEST

START_TEST(it_is_found_among_many_and_told_once)
{
	struct random_source random = random_from_seed(0xb0);
	int ends[2];
	struct button button = button_of(ends);

	for (uint32_t round = 0; round < 200; round++) {
		uint32_t count = 1 + (uint32_t)random_below(&random, 150);
		uint32_t at = (uint32_t)random_below(&random, 2 * count);

		for (uint32_t i = 0; i < count; i++) {
			struct input_event one =
				i == at ? event(EV_KEY, KEY_POWER, 1) : event(EV_KEY, KEY_A, i % 2);

			ck_assert_int_eq(write(ends[1], &one, sizeof(one)), sizeof(one));
		}
		ck_assert_int_eq(button_take(&button), at < count);
		ck_assert(!button_take(&button));
		ck_assert_int_eq(button.fds[0], ends[0]);
	}
	close(ends[1]);
	button_close(&button);
}
END_TEST

START_TEST(a_device_that_goes_away_is_closed)
{
	int ends[2];
	struct button button = button_of(ends);
	struct input_event press = event(EV_KEY, KEY_POWER, 1);

	/* Its last words count. */
	ck_assert_int_eq(write(ends[1], &press, sizeof(press)), sizeof(press));
	close(ends[1]);
	ck_assert(button_take(&button));
	ck_assert_int_eq(button.fds[0], -1);
	ck_assert_int_eq(fcntl(ends[0], F_GETFD), -1);
	ck_assert(!button_take(&button));
	button_close(&button);
}
END_TEST

START_TEST(what_is_no_such_device_is_passed_over)
{
	char directory[] = "/tmp/perdure-button.XXXXXX", path[64];
	struct button button = { .count = 5 };
	struct error why = { "" };
	int fd;

	ck_assert(!button_open("/nonexistent", &button, &why));
	ck_assert_uint_eq(button.count, 0);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/event0", directory);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert(!button_open(directory, &button, &why));
	ck_assert_uint_eq(button.count, 0);
	unlink(path);
	/* A link that leads to itself cannot be opened, and that is said. */
	ck_assert_int_eq(symlink("event0", path), 0);
	ck_assert_int_eq(button_open(directory, &button, &why), -ELOOP);
	ck_assert_msg(strstr(why.text, path) != NULL, "%s", why.text);
	unlink(path);
	rmdir(directory);
	ck_assert_int_eq(button_open("/proc/self/exe", &button, &why), -ENOTDIR);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("button");
	TCase *test = tcase_create("button");

	tcase_add_test(test, only_a_press_of_the_power_key_counts);
	tcase_add_test(test, it_is_found_among_many_and_told_once);
	tcase_add_test(test, a_device_that_goes_away_is_closed);
	tcase_add_test(test, what_is_no_such_device_is_passed_over);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
