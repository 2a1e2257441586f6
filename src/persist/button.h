/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_BUTTON_H
#define PERSIST_BUTTON_H

/*
 * The ACPI power button: input devices (/dev/input/event*) that have a power key. They are only
 * listened to; what the host does at the button is left to others.
 *
 * All descriptors are non-blocking, and the owner's to poll. A device that comes later is found by
 * opening again. One thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

#define BUTTON_DIRECTORY "/dev/input"
#define BUTTON_MAX 8 /* hosts have one or two, and keyboards with such a key */

struct button {
	size_t count;
	int fds[BUTTON_MAX]; /* to poll for reading; -1 where a device went away */
};

/*
 * Opens those in `directory`. 0, also when there is none (count 0); in words: -EACCES and others
 * for a directory or a device that may not be read.
 */
int button_open(const char *directory, struct button *ret_button, struct error *why);
void button_close(struct button *button);

/*
 * Takes what came of all descriptors: true if a power key was pressed since. Never waits. One of a
 * device that went away is closed and becomes -1.
 */
bool button_take(struct button *button);

/* For the above: whether a power key is pressed in these bytes, `struct input_event` one by one. */
bool button_is_pressed(const void *bytes, size_t byte_count);

#endif
