/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

/* upsclient.h wants these before it. */
#include <stdint.h>
#include <sys/time.h>
#include <time.h>
#include <upsclient.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/own_thread.h"
#include "base/secret_file.h"
#include "persist/ups_status.h"

#define MS_NS ((uint64_t)1000000)
#define RETRY_MS_FIRST 100
#define CHARGE_MAX 100
#define NO_ANSWER "the server does not answer, or has closed the connection"
#define RUNTIME_S_MAX 10000000

enum life { LIFE_RUNS, LIFE_ENDED, LIFE_LEFT };

struct ups {
	struct ups_config config;
	char user[UPS_SECRET_BYTES], password[UPS_SECRET_BYTES];
	pthread_t thread;
	/* Who comes second, of the thread that ends and the owner that leaves it, frees. */
	_Atomic int life;
	int news_fd, stop_fd, ended_fd;
	/* The thread's alone. */
	UPSCONN_t connection;
	bool is_connected, is_logged_in;
	struct error login_words;
	/* A leaf: nothing is called under it. */
	pthread_mutex_t lock;
	struct ups_view view;
};

static void say(int fd)
{
	const uint64_t one = 1;
	ssize_t done = write(fd, &one, sizeof(one));

	assert(done == sizeof(one) || errno == EAGAIN);
}

static bool is_same(const struct ups_view *a, const struct ups_view *b)
{
	return a->power.link == b->power.link && a->power.flags == b->power.flags &&
	       a->power.charge_percent == b->power.charge_percent &&
	       a->power.runtime_s == b->power.runtime_s && a->is_logged_in == b->is_logged_in &&
	       !strcmp(a->words.text, b->words.text);
}

static void tell(struct ups *ups, const struct ups_view *view)
{
	bool is_news;

	pthread_mutex_lock(&ups->lock);
	is_news = !is_same(&ups->view, view);
	ups->view = *view;
	pthread_mutex_unlock(&ups->lock);
	if (is_news)
		say(ups->news_fd);
}

/* It did not answer now: what it said before stays, with its time. */
static void tell_failure(struct ups *ups, const char *what)
{
	const struct ups_address *address = &ups->config.address;
	struct ups_view view;

	pthread_mutex_lock(&ups->lock);
	view = ups->view;
	pthread_mutex_unlock(&ups->lock);
	view.is_logged_in = ups->is_connected && ups->is_logged_in;
	error_set(&view.words, 0, "UPS %s@%s:%u: %s", address->name, address->host, address->port,
		  what);
	tell(ups, &view);
}

/* The library waits with select(), which knows no descriptors past FD_SETSIZE. */
static bool has_low_descriptor(void)
{
	CLEANUP_FD int fd = eventfd(0, EFD_CLOEXEC);

	return fd >= 0 && fd < FD_SETSIZE;
}

/*
 * One line to the server and one back, without its end; false when none came in time. The library's
 * upscli_get() would wait for 5 s, whatever it is told.
 */
static bool exchange(struct ups *ups, const char *line, char answer[UPSCLI_NETBUF_LEN])
{
	time_t wait_s = ups->config.wait_s;

	answer[0] = '\0';
	if (upscli_sendline_timeout(&ups->connection, line, strlen(line), wait_s) ||
	    upscli_readline_timeout(&ups->connection, answer, UPSCLI_NETBUF_LEN, wait_s))
		return false;
	/* What comes of a stranger may go to a log: no control characters. */
	for (char *at = answer; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return true;
}

static bool command(struct ups *ups, const char *line, char answer[UPSCLI_NETBUF_LEN])
{
	return exchange(ups, line, answer) && !strncmp(answer, "OK", 2);
}

/* `text` as one word of the server's language. */
static void quote(const char *text, char quoted[2 * UPS_SECRET_BYTES])
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			*quoted++ = '\\';
		*quoted++ = *text;
	}
	*quoted = '\0';
}

/* False when the server did not answer; a refusal is an answer. */
static bool log_in(struct ups *ups)
{
	char line[2 * UPS_SECRET_BYTES + 16], word[2 * UPS_SECRET_BYTES], answer[UPSCLI_NETBUF_LEN];

	ups->login_words.text[0] = '\0';
	ups->is_logged_in = false;
	if (!ups->user[0])
		return true;
	quote(ups->user, word);
	snprintf(line, sizeof(line), "USERNAME \"%s\"\n", word);
	if (command(ups, line, answer)) {
		quote(ups->password, word);
		snprintf(line, sizeof(line), "PASSWORD \"%s\"\n", word);
		if (command(ups, line, answer)) {
			snprintf(line, sizeof(line), "LOGIN %s\n", ups->config.address.name);
			ups->is_logged_in = command(ups, line, answer);
		}
	}
	explicit_bzero(word, sizeof(word));
	explicit_bzero(line, sizeof(line));
	if (!ups->is_logged_in && answer[0])
		error_set(&ups->login_words, 0, "UPS %s@%s:%u: user \"%s\" cannot log in: %.64s",
			  ups->config.address.name, ups->config.address.host,
			  ups->config.address.port, ups->user, answer);
	return answer[0];
}

static void lose(struct ups *ups, const char *what)
{
	ups->is_connected = false;
	tell_failure(ups, what);
	upscli_disconnect(&ups->connection);
}

static bool connect_to(struct ups *ups)
{
	const struct ups_address *address = &ups->config.address;
	struct timeval wait = { .tv_sec = ups->config.wait_s };

	if (!has_low_descriptor()) {
		tell_failure(ups, "too many descriptors are open for its library");
		return false;
	}
	if (upscli_tryconnect(&ups->connection, address->host, address->port, 0, &wait)) {
		tell_failure(ups, upscli_strerror(&ups->connection));
		upscli_disconnect(&ups->connection);
		return false;
	}
	fcntl(upscli_fd(&ups->connection), F_SETFD, FD_CLOEXEC);
	ups->is_connected = true;
	if (log_in(ups))
		return true;
	lose(ups, NO_ANSWER);
	return false;
}

/* As ups_status_value(); -EIO when the connection is lost. */
static int get(struct ups *ups, const char *variable, char value[UPS_VALUE_BYTES])
{
	char line[UPS_NAME_BYTES + 64], answer[UPSCLI_NETBUF_LEN], said[64];
	const char *name = ups->config.address.name, *refusal = "";
	int err;

	snprintf(line, sizeof(line), "GET VAR %s %s\n", name, variable);
	if (!exchange(ups, line, answer)) {
		lose(ups, NO_ANSWER);
		return -EIO;
	}
	err = ups_status_value(answer, name, variable, value, &refusal);
	if (err == -EPROTO) {
		lose(ups, "what answers there is not NUT's upsd");
		return -EIO;
	}
	if (err == -EREMOTEIO) {
		snprintf(said, sizeof(said), "upsd says %.48s", refusal);
		tell_failure(ups, said);
	}
	return err;
}

static int get_number(struct ups *ups, const char *variable, uint32_t max, uint32_t *ret_number)
{
	char value[UPS_VALUE_BYTES];
	int err = get(ups, variable, value);

	*ret_number = err ? POWER_ABSENT : ups_status_number(value, max);
	return err == -ENODATA ? 0 : err;
}

static int ask(struct ups *ups, struct power_ups *power)
{
	char status[UPS_VALUE_BYTES];
	int err = get(ups, "ups.status", status);

	if (err == -ENODATA)
		tell_failure(ups, "it has no ups.status");
	if (err)
		return err;
	power->link = POWER_ANSWERS;
	power->flags = ups_status_flags(status);
	err = get_number(ups, "battery.charge", CHARGE_MAX, &power->charge_percent);
	return err ? err : get_number(ups, "battery.runtime", RUNTIME_S_MAX, &power->runtime_s);
}

/* False when the connection was lost. Where only what stands behind the server is, it stays. */
static bool poll_once(struct ups *ups)
{
	struct ups_view view = { .is_logged_in = ups->is_logged_in, .words = ups->login_words };
	int err = ask(ups, &view.power);

	if (!err) {
		view.answered_ns = clock_now_ns();
		tell(ups, &view);
	}
	return err != -EIO;
}

/* Sleeps; true when it is to end. */
static bool stops_within(const struct ups *ups, uint32_t ms)
{
	struct pollfd stop = { .fd = ups->stop_fd, .events = POLLIN };

	return poll(&stop, 1, (int)ms) > 0;
}

static void free_ups(struct ups *ups)
{
	int fds[] = { ups->news_fd, ups->stop_fd, ups->ended_fd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_mutex_destroy(&ups->lock);
	explicit_bzero(ups->password, sizeof(ups->password));
	free(ups);
}

static void *run(void *argument)
{
	struct ups *ups = argument;
	uint32_t retry_ms = RETRY_MS_FIRST, sleep_ms = 0;

	while (!stops_within(ups, sleep_ms)) {
		if (ups->is_connected || connect_to(ups)) {
			sleep_ms = ups->config.poll_ms;
			if (poll_once(ups)) {
				retry_ms = RETRY_MS_FIRST;
				continue;
			}
		}
		sleep_ms = retry_ms;
		retry_ms = retry_ms * 2 < UPS_RETRY_MS_MAX ? retry_ms * 2 : UPS_RETRY_MS_MAX;
	}
	if (ups->is_connected)
		upscli_disconnect(&ups->connection);
	say(ups->ended_fd);
	if (atomic_exchange(&ups->life, LIFE_ENDED) == LIFE_LEFT)
		free_ups(ups);
	return NULL;
}

/* The first line of the file. */
static int read_password(const char *path, char password[UPS_SECRET_BYTES], struct error *why)
{
	CLEANUP_FD int fd = -1;
	ssize_t bytes;
	int err = secret_file_open(path, "password file", &fd, why);

	if (err)
		return err;
	bytes = read(fd, password, UPS_SECRET_BYTES);
	if (bytes < 0)
		return error_set(why, -errno, "cannot read password file \"%s\": %s", path,
				 strerror(errno));
	if (bytes < UPS_SECRET_BYTES)
		password[bytes] = '\0';
	if (strnlen(password, (size_t)bytes) != (size_t)bytes)
		return error_set(why, -EINVAL, "password file \"%s\" is not a text", path);
	if (strcspn(password, "\r\n") >= UPS_SECRET_BYTES)
		return error_set(why, -EINVAL, "the first line of \"%s\" is longer than %d", path,
				 UPS_SECRET_BYTES - 1);
	password[strcspn(password, "\r\n")] = '\0';
	return password[0] ? 0 : error_set(why, -EINVAL, "password file \"%s\" is empty", path);
}

static int take_user(struct ups *ups, struct error *why)
{
	const char *user = ups->config.user, *file = ups->config.password_file;

	if (!user)
		return file ? error_set(why, -EINVAL, "a UPS's password file needs a user") : 0;
	if (!file)
		return error_set(why, -EINVAL, "the UPS's user \"%s\" needs a password file", user);
	if (!*user || strlen(user) >= sizeof(ups->user) || strpbrk(user, "\r\n"))
		return error_set(why, -EINVAL, "\"%s\" cannot be a UPS's user", user);
	strcpy(ups->user, user);
	return read_password(file, ups->password, why);
}

static int begin(struct ups *ups, struct error *why)
{
	int err = take_user(ups, why);

	if (err)
		return err;
	ups->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ups->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ups->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ups->news_fd < 0 || ups->stop_fd < 0 || ups->ended_fd < 0)
		return error_set(why, -errno, "cannot watch the UPS: %s", strerror(errno));
	err = own_thread_start(&ups->thread, NULL, run, ups);
	return err ? error_set(why, err, "cannot watch the UPS: %s", strerror(-err)) : 0;
}

int ups_open(const struct ups_config *config, struct ups **ret_ups, struct error *why)
{
	struct ups *ups = calloc(1, sizeof(*ups));
	int err;

	if (!ups)
		return error_set(why, -ENOMEM, "no memory for the UPS");
	assert(config->poll_ms && config->wait_s && config->silent_ms);
	ups->config = *config;
	ups->news_fd = ups->stop_fd = ups->ended_fd = -1;
	pthread_mutex_init(&ups->lock, NULL);
	ups->view.power.charge_percent = ups->view.power.runtime_s = POWER_ABSENT;
	err = begin(ups, why);
	if (err) {
		free_ups(ups);
		return err;
	}
	*ret_ups = ups;
	return 0;
}

int ups_fd(const struct ups *ups)
{
	return ups->news_fd;
}

void ups_look(struct ups *ups, uint64_t now_ns, struct ups_view *ret_view)
{
	uint64_t silent_ns = ups->config.silent_ms * MS_NS, count;

	/* Before the look: what comes after it is told again. */
	while (read(ups->news_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&ups->lock);
	*ret_view = ups->view;
	pthread_mutex_unlock(&ups->lock);
	if (ret_view->power.link != POWER_ANSWERS || now_ns < ret_view->answered_ns + silent_ns)
		return;
	ret_view->power.link = POWER_SILENT;
	if (!ret_view->words.text[0])
		error_set(&ret_view->words, 0, "UPS %s@%s:%u: no answer for %llu ms",
			  ups->config.address.name, ups->config.address.host,
			  ups->config.address.port,
			  (unsigned long long)((now_ns - ret_view->answered_ns) / MS_NS));
}

uint64_t ups_wake_ns(const struct ups *ups, const struct ups_view *view)
{
	if (view->power.link != POWER_ANSWERS)
		return POWER_NO_WAKE;
	return view->answered_ns + ups->config.silent_ms * MS_NS;
}

void ups_close(struct ups *ups)
{
	struct pollfd ended;
	int ready;

	if (!ups)
		return;
	say(ups->stop_fd);
	ended = (struct pollfd){ .fd = ups->ended_fd, .events = POLLIN };
	do
		ready = poll(&ended, 1, 2000 * (int)ups->config.wait_s);
	while (ready < 0 && errno == EINTR);
	if (ready > 0) {
		pthread_join(ups->thread, NULL);
		free_ups(ups);
		return;
	}
	pthread_detach(ups->thread);
	if (atomic_exchange(&ups->life, LIFE_LEFT) == LIFE_ENDED)
		free_ups(ups);
}
