/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/descriptor_pass.h"
#include "suite.h"

static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void close_all_own(void)
{
	for (unsigned int fd = descriptor_next_own(0); fd < DESCRIPTOR_KNOWN_MAX;
	     fd = descriptor_next_own(fd))
		ck_assert_int_eq(descriptor_close((int)fd), 0);
}

START_TEST(moved_ones_are_high_own_and_close_on_exec)
{
	int low = open_null(), fd = descriptor_move_up(low);

	ck_assert_int_ge(fd, DESCRIPTOR_OWN_MIN);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(low, F_GETFD), -1);
	ck_assert(descriptor_is_own(fd) && !descriptor_is_own(low));
	ck_assert_int_eq(descriptor_close(fd), 0);
	ck_assert(!descriptor_is_own(fd));
	ck_assert_int_eq(descriptor_close(fd), -EBADF);
}
END_TEST

START_TEST(where_the_limit_allows_no_higher_one_it_stays_and_is_own)
{
	struct rlimit limit, low = { 64, 64 };
	int before = open_null(), fd;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low.rlim_max = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	errno = ENOENT;
	fd = descriptor_move_up(before);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(fd, before);
	ck_assert(descriptor_is_own(fd));
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(descriptor_close(fd), 0);
}
END_TEST

START_TEST(what_is_not_open_or_not_known_is_nobodys)
{
	static const int strange[] = { -1, (int)DESCRIPTOR_KNOWN_MAX, INT32_MAX, INT32_MIN };

	for (unsigned int i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		ck_assert(!descriptor_is_own(strange[i]));
		descriptor_disown(strange[i]);
	}
	ck_assert_int_eq(descriptor_move_up(-1), -1);
	ck_assert_int_eq(descriptor_close(-1), 0);
	ck_assert_int_eq(descriptor_copy(-1), -EBADF);
}
END_TEST

/* Against a walk one by one, over words that are empty, full and in between. */
START_TEST(next_own_finds_each_once)
{
	int low = open_null();
	unsigned int next = DESCRIPTOR_OWN_MIN;

	for (int i = 0; i < 200; i++)
		ck_assert_int_ge(descriptor_copy(low), DESCRIPTOR_OWN_MIN);
	for (int i = 0; i < 100; i += 3)
		ck_assert_int_eq(descriptor_close(DESCRIPTOR_OWN_MIN + i), 0);
	for (unsigned int fd = 0; fd < DESCRIPTOR_KNOWN_MAX; fd++) {
		while (next < DESCRIPTOR_KNOWN_MAX &&
		       (next < fd || !descriptor_is_own((int)next)))
			next++;
		ck_assert_uint_eq(descriptor_next_own(fd), next);
	}
	ck_assert_uint_eq(descriptor_next_own(UINT32_MAX), DESCRIPTOR_KNOWN_MAX);
	close_all_own();
	ck_assert_uint_eq(descriptor_next_own(0), DESCRIPTOR_KNOWN_MAX);
	close(low);
}
END_TEST

/* 0 if the child has, above the standard three, only these, each of which is what it was. */
static int keep_two(int first, int second)
{
	int fds[] = { first, second };
	char byte = 0;

	descriptor_keep_only(fds, 2);
	if (fds[0] != 3 || fds[1] != 4 || fcntl(5, F_GETFD) >= 0 || fcntl(first, F_GETFD) >= 0 ||
	    fcntl(second, F_GETFD) >= 0)
		return 1;
	return write(fds[1], "x", 1) == 1 && read(fds[0], &byte, 1) == 1 && byte == 'x' ? 0 : 2;
}

START_TEST(a_child_keeps_what_it_is_to)
{
	int ends[2], low = open_null(), high = open_null(), status;
	pid_t child;

	ck_assert(!pipe(ends));
	/* In the order that is the other way round where they are to be. */
	ck_assert_int_eq(dup2(ends[1], high + 10), high + 10);
	ck_assert_int_eq(dup2(ends[0], high + 11), high + 11);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(keep_two(high + 11, high + 10));
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	for (int fd = low; fd <= high + 11; fd++)
		close(fd);
}
END_TEST

START_TEST(one_goes_along_with_a_message)
{
	int sockets[2], fd;
	char got[4];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	ck_assert_int_eq(descriptor_send(sockets[0], "one", 4, sockets[1], 0), 0);
	ck_assert_int_eq(descriptor_receive(sockets[1], got, 4, &fd, 0), 4);
	ck_assert_str_eq(got, "one");
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	ck_assert_int_eq(descriptor_send(sockets[0], "two", 4, -1, 0), 0);
	ck_assert_int_eq(descriptor_receive(sockets[1], got, 4, &fd, 0), 4);
	ck_assert_str_eq(got, "two");
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(descriptor_receive(sockets[1], got, 4, &fd, MSG_DONTWAIT), -EAGAIN);
	ck_assert_int_eq(fd, -1);
	close(sockets[0]);
	ck_assert_int_eq(descriptor_receive(sockets[1], got, 4, &fd, 0), 0);
	ck_assert_int_eq(descriptor_send(sockets[1], got, 4, -1, 0), -EPIPE);
	close(sockets[1]);
}
END_TEST

/* Others would be nobody's to close: only one is taken, however many came. */
START_TEST(of_two_that_come_one_is_left)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec part = { "word", 4 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.space,
				  .msg_controllen = sizeof(control.space) };
	int sockets[2], two[2] = { open_null(), open_null() }, fd, next;
	char got[4];

	ck_assert(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(two));
	memcpy(CMSG_DATA(&control.header), two, sizeof(two));
	ck_assert_int_eq(sendmsg(sockets[0], &message, 0), 4);
	ck_assert_int_eq(descriptor_receive(sockets[1], got, 4, &fd, 0), 4);
	next = open_null();
	ck_assert_int_eq(next, fd + 1);
	close(next);
	close(fd);
	close(two[0]);
	close(two[1]);
	close(sockets[0]);
	close(sockets[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("descriptor");
	TCase *tcase = tcase_create("descriptor");

	tcase_add_test(tcase, moved_ones_are_high_own_and_close_on_exec);
	tcase_add_test(tcase, where_the_limit_allows_no_higher_one_it_stays_and_is_own);
	tcase_add_test(tcase, what_is_not_open_or_not_known_is_nobodys);
	tcase_add_test(tcase, next_own_finds_each_once);
	tcase_add_test(tcase, a_child_keeps_what_it_is_to);
	tcase_add_test(tcase, one_goes_along_with_a_message);
	tcase_add_test(tcase, of_two_that_come_one_is_left);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
