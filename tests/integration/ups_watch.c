/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A client of a UPS's server, through persist/ups.h: ups_watch NAME@HOST[:PORT] [USER FILE]
 * prints a line for all that is new, until its standard input ends:
 *
 *	TIME LINK FLAGS CHARGE RUNTIME LOGIN WORDS
 *
 * with the time in ms since 1970, the link as unseen, answers or silent, the flags as ups.status
 * has them with commas between (none: "-"), "?" for numbers that are absent, and "in" or "out".
 * Then it logs out and prints "closed after N ms". As the agent does, it never waits but for news.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "persist/ups.h"

#define MS_NS 1000000u
#define LOOK_MS_MAX 1000 /* for looking: a wait that has nothing to do with the server */

static unsigned long long wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / MS_NS;
}

static const char *number(uint32_t value, char text[16])
{
	if (value == POWER_ABSENT)
		return "?";
	snprintf(text, 16, "%u", value);
	return text;
}

static void print(const struct ups_view *view, char line[], size_t line_bytes)
{
	static const char *const links[] = { "unseen", "answers", "silent" };
	static const char *const names[] = { "OL", "OB", "LB", "FSD", "RB" };
	char flags[32] = "", charge[16], runtime[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (view->power.flags >> i & 1) {
			if (flags[0])
				strcat(flags, ",");
			strcat(flags, names[i]);
		}
	snprintf(line, line_bytes, "%s %s %s %s %s %s", links[view->power.link],
		 flags[0] ? flags : "-", number(view->power.charge_percent, charge),
		 number(view->power.runtime_s, runtime), view->is_logged_in ? "in" : "out",
		 view->words.text);
}

static int wait_ms(const struct ups *ups, const struct ups_view *view)
{
	uint64_t now = clock_now_ns(), wake = ups_wake_ns(ups, view), ms;

	if (wake == POWER_NO_WAKE)
		return LOOK_MS_MAX;
	ms = wake > now ? (wake - now) / MS_NS + 1 : 1;
	return ms < LOOK_MS_MAX ? (int)ms : LOOK_MS_MAX;
}

int main(int argc, char **argv)
{
	struct ups_config config = { .poll_ms = UPS_POLL_MS,
				     .wait_s = UPS_WAIT_S,
				     .silent_ms = UPS_SILENT_MS };
	struct pollfd polls[2] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	char last[512] = "", line[512];
	struct error why = { "" };
	uint64_t begin, look, look_ns_max = 0;
	struct ups_view view;
	struct ups *ups;

	config.user = argc == 4 ? argv[2] : NULL;
	config.password_file = argc == 4 ? argv[3] : NULL;
	if ((argc != 2 && argc != 4) || ups_address_parse(argv[1], &config.address, &why) ||
	    ups_open(&config, &ups, &why)) {
		fprintf(stderr, "ups_watch: %s\n", why.text);
		return 1;
	}
	polls[1] = (struct pollfd){ .fd = ups_fd(ups), .events = POLLIN };
	do {
		look = clock_now_ns();
		ups_look(ups, look, &view);
		look = clock_now_ns() - look;
		look_ns_max = look > look_ns_max ? look : look_ns_max;
		print(&view, line, sizeof(line));
		if (strcmp(line, last)) {
			printf("%llu %s\n", wall_ms(), line);
			fflush(stdout);
			strcpy(last, line);
		}
		poll(polls, 2, wait_ms(ups, &view));
	} while (!polls[0].revents);
	begin = clock_now_ns();
	ups_close(ups);
	printf("closed after %llu ms, a look took %llu us at most\n",
	       (unsigned long long)((clock_now_ns() - begin) / MS_NS),
	       (unsigned long long)(look_ns_max / 1000));
	return 0;
}
