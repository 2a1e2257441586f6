/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_UPS_H
#define PERSIST_UPS_H

/*
 * A UPS, by NUT's server (upsd): persist/ups.c asks it through libupsclient in a thread of its own,
 * since that library waits; persist/ups_none.c stands in for it in builds without NUT.
 *
 * The thread asks each poll_ms for the status, the charge and the runtime, and leaves the answer
 * where ups_look() finds it. A server that does not answer at all is known by the age of the
 * last answer, so nobody who looks waits for it. A lost connection is made again, at intervals
 * that grow to UPS_RETRY_MS_MAX. Nothing is encrypted, a password neither.
 *
 * With a user it logs in as a secondary: the primary then waits with cutting the power (S4 of
 * docs/design/persistence.md) until it has logged out, which ups_close() does. Without one, or when
 * the server refuses him, it only reads.
 *
 * Threads: all calls are one thread's, the owner's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "persist/ups_address.h"
#include "policy/power.h"

#define UPS_POLL_MS 50
#define UPS_WAIT_S 1	      /* for one answer; the library counts in seconds */
#define UPS_SILENT_MS 2000     /* without an answer it does not answer: power's POWER_SILENT */
#define UPS_RETRY_MS_MAX 1000  /* between attempts to connect */
#define UPS_SECRET_BYTES 128   /* a user's name, a password, each with its final NUL */

struct ups_config {
	struct ups_address address;
	const char *user;	   /* NULL: it only reads */
	const char *password_file; /* its first line; not for others to read. With a user only */
	uint32_t poll_ms;
	uint32_t wait_s;
	uint32_t silent_ms;
};

/* What is known of it now. */
struct ups_view {
	struct power_ups power;
	uint64_t answered_ns; /* of the monotonic clock: when it answered last; 0: never */
	bool is_logged_in;
	struct error words; /* why it does not answer, or why it is not logged in; or empty */
};

struct ups;

/*
 * Starts to ask. Whether the server is there is seen later. In words: -EINVAL or -EPERM for a user
 * or a password file that cannot be used, -ENOTSUP in a build without NUT.
 */
int ups_open(const struct ups_config *config, struct ups **ret_ups, struct error *why);

/* Becomes readable when there is something new to look at. The UPS's; not to be read. */
int ups_fd(const struct ups *ups);

/* Never waits for the server. */
void ups_look(struct ups *ups, uint64_t now_ns, struct ups_view *ret_view);

/* When to look again at the latest, though ups_fd() stays quiet. */
uint64_t ups_wake_ns(const struct ups *ups, const struct ups_view *view);

/*
 * Logs out and ends. NULL is allowed. Waits for at most twice wait_s; a thread that is stuck by
 * then (in a look-up of the host's name, say) is left to end by itself.
 */
void ups_close(struct ups *ups);

#endif
