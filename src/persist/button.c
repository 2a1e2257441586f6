/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/button.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/input.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"

#define EVENTS_AT_A_TIME 64
#define WORD_BITS (8 * sizeof(unsigned long))
#define PRESSED 1 /* 0 is a release, 2 a key that is held */

static bool has_power_key(int fd)
{
	unsigned long keys[KEY_MAX / WORD_BITS + 1] = { 0 };

	return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
	       (keys[KEY_POWER / WORD_BITS] >> KEY_POWER % WORD_BITS & 1);
}

static int add_device(const char *directory, const char *name, struct button *button,
		      struct error *why)
{
	CLEANUP_FD int fd = -1;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return error_set(why, -ENAMETOOLONG, "\"%s\" is too long a name", directory);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	/* It may have gone since it was listed. */
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return 0;
	if (fd < 0)
		return error_set(why, -errno, "cannot open \"%s\": %s", path, strerror(errno));
	if (has_power_key(fd) && button->count < BUTTON_MAX)
		button->fds[button->count++] = take_fd(&fd);
	return 0;
}

int button_open(const char *directory, struct button *ret_button, struct error *why)
{
	struct button button = { .count = 0 };
	struct dirent *entry;
	DIR *dir = opendir(directory);
	int err = 0;

	if (!dir && errno != ENOENT)
		return error_set(why, -errno, "cannot look for power buttons in \"%s\": %s",
				 directory, strerror(errno));
	while (dir && !err && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, "event", 5))
			err = add_device(directory, entry->d_name, &button, why);
	if (dir)
		closedir(dir);
	if (err)
		button_close(&button);
	else
		*ret_button = button;
	return err;
}

void button_close(struct button *button)
{
	for (size_t i = 0; i < button->count; i++)
		if (button->fds[i] >= 0)
			close(button->fds[i]);
	button->count = 0;
}

bool button_is_pressed(const void *bytes, size_t byte_count)
{
	const unsigned char *at = bytes;
	struct input_event event;

	for (; byte_count >= sizeof(event); at += sizeof(event), byte_count -= sizeof(event)) {
		memcpy(&event, at, sizeof(event));
		if (event.type == EV_KEY && event.code == KEY_POWER && event.value == PRESSED)
			return true;
	}
	return false;
}

/* Those of one descriptor, to the last. */
static bool take_device(int *fd)
{
	struct input_event events[EVENTS_AT_A_TIME];
	bool is_pressed = false;

	for (;;) {
		ssize_t bytes = read(*fd, events, sizeof(events));

		if (bytes > 0) {
			is_pressed |= button_is_pressed(events, (size_t)bytes);
			continue;
		}
		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes == 0 || errno != EAGAIN) {
			close(*fd);
			*fd = -1;
		}
		return is_pressed;
	}
}

bool button_take(struct button *button)
{
	bool is_pressed = false;

	for (size_t i = 0; i < button->count; i++)
		if (button->fds[i] >= 0)
			is_pressed |= take_device(&button->fds[i]);
	return is_pressed;
}
