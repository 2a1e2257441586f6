/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups_address.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define DIGITS "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define PORT_DIGITS_MAX 5

static int refuse(const char *text, const char *what, struct error *why)
{
	return error_set(why, -EINVAL, "\"%s\" is no UPS: %s; NAME@HOST[:PORT] is wanted", text,
			 what);
}

static bool take(const char *from, size_t bytes, const char *allowed, char *to, size_t to_bytes)
{
	if (!bytes || bytes >= to_bytes || strspn(from, allowed) < bytes)
		return false;
	memcpy(to, from, bytes);
	to[bytes] = '\0';
	return true;
}

/* What stands behind the host: nothing, or a colon and a port. */
static bool take_port(const char *rest, uint16_t *ret_port)
{
	uint32_t port = 0;
	size_t digits;

	*ret_port = UPS_PORT;
	if (!*rest)
		return true;
	digits = *rest == ':' ? strspn(rest + 1, DIGITS) : 0;
	if (!digits || digits > PORT_DIGITS_MAX || rest[1 + digits])
		return false;
	for (size_t i = 1; i <= digits; i++)
		port = port * 10 + (uint32_t)(rest[i] - '0');
	*ret_port = (uint16_t)port;
	return port > 0 && port <= UINT16_MAX;
}

int ups_address_parse(const char *text, struct ups_address *ret_address, struct error *why)
{
	const char *at = strchr(text, '@'), *host, *end;
	struct ups_address address;
	bool has_brackets;

	if (!at)
		return refuse(text, "there is no '@'", why);
	if (!take(text, (size_t)(at - text), LETTERS DIGITS "._-", address.name,
		  sizeof(address.name)))
		return refuse(text,
			      "its name is empty, too long or has other signs than letters, "
			      "digits and ._-",
			      why);
	has_brackets = at[1] == '[';
	host = at + 1 + has_brackets;
	end = host + strcspn(host, has_brackets ? "]" : ":");
	if ((has_brackets && *end != ']') ||
	    !take(host, (size_t)(end - host), LETTERS DIGITS "._-:%", address.host,
		  sizeof(address.host)))
		return refuse(text, "its host is empty, too long or has strange signs", why);
	if (!take_port(end + has_brackets, &address.port))
		return refuse(text, "its port is not a number from 1 to 65535", why);
	*ret_address = address;
	return 0;
}
