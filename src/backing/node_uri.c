/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/node_uri.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backing/uri.h"
#include "base/units.h"
#include "fabric/fabric.h"
#include "format/wire.h"

#define WAIT_MS_MIN 10	    /* less is below what a connection takes */
#define WAIT_MS_MAX 600000u /* more is not a limit that anyone would wait for */
#define NS_PER_MS 1000000u

static int take_transport(const char *rest, const char *value, struct node_uri *uri,
			  struct error *why)
{
	/* auto leaves out shm: cma is as fast, takes no lock that a killed process could hold. */
	if (!value || !strcmp(value, "auto"))
		uri->transports = 1u << FABRIC_TCP | 1u << FABRIC_CMA;
	else if (!strcmp(value, "tcp"))
		uri->transports = 1u << FABRIC_TCP;
	else if (!strcmp(value, "shm"))
		uri->transports = 1u << FABRIC_SHM;
	else if (!strcmp(value, "cma"))
		uri->transports = 1u << FABRIC_CMA;
	else
		return uri_bad(why, "node", rest,
			       "transport \"%s\" is none of auto, tcp, shm and cma", value);
	return 0;
}

static int take_timeout(const char *rest, const char *value, struct node_uri *uri,
			struct error *why)
{
	uint64_t ns;

	if (!value || parse_duration(value, &ns, NULL))
		return uri_bad(why, "node", rest, "timeout \"%s\" is no duration such as 2s",
			       value ? value : "");
	if (ns < WAIT_MS_MIN * (uint64_t)NS_PER_MS || ns > WAIT_MS_MAX * (uint64_t)NS_PER_MS)
		return uri_bad(why, "node", rest, "timeout \"%s\" is not between 10ms and 10m",
			       value);
	uri->wait_ms_max = (uint32_t)(ns / NS_PER_MS);
	return 0;
}

static int take_options(const char *rest, char *options, struct node_uri *uri, struct error *why)
{
	char *cursor = options, *name, *value;
	int ret = 0;

	while (!ret && uri_next_option(&cursor, '&', &name, &value)) {
		if (!strcmp(name, "transport"))
			ret = take_transport(rest, value, uri, why);
		else if (!strcmp(name, "timeout"))
			ret = take_timeout(rest, value, uri, why);
		else
			ret = uri_bad(why, "node", rest,
				      "unknown option \"%s\"; known: transport, timeout", name);
	}
	return ret;
}

static int take_port(const char *rest, const char *text, struct node_uri *uri, struct error *why)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || port < 1 || port > 65535)
		return uri_bad(why, "node", rest, "\"%s\" is no port from 1 to 65535", text);
	snprintf(uri->port, sizeof(uri->port), "%lu", port);
	return 0;
}

static int take_place(const char *rest, char *place, struct node_uri *uri, struct error *why)
{
	char *host = place, *port;
	int ret = 0;

	snprintf(uri->place, sizeof(uri->place), "%s", place);
	snprintf(uri->port, sizeof(uri->port), "%d", WIRE_PORT);
	if (host[0] == '[') {
		char *bracket = strchr(++host, ']');

		if (!bracket || (bracket[1] && bracket[1] != ':'))
			return uri_bad(why, "node", rest, "expected [ADDRESS]:PORT");
		*bracket = '\0';
		port = bracket[1] ? bracket + 2 : NULL;
	} else {
		port = strchr(host, ':');
		if (port)
			*port++ = '\0';
	}
	if (!host[0])
		return uri_bad(why, "node", rest, "no host in it; expected node://HOST:PORT");
	if (port)
		ret = take_port(rest, port, uri, why);
	snprintf(uri->host, sizeof(uri->host), "%s", host);
	return ret;
}

int node_uri_parse(const char *rest, struct node_uri *ret_uri, struct error *why)
{
	char text[BACKING_URI_BYTES];
	char *options;
	int ret;

	memset(ret_uri, 0, sizeof(*ret_uri));
	if (strncmp(rest, "//", 2) || strlen(rest) >= sizeof(text))
		return uri_bad(why, "node", rest, "expected node://HOST:PORT");
	snprintf(text, sizeof(text), "%s", rest + 2);
	options = strchr(text, '?');
	if (options)
		*options++ = '\0';
	take_transport(rest, NULL, ret_uri, NULL);
	ret = take_place(rest, text, ret_uri, why);
	if (!ret && options)
		ret = take_options(rest, options, ret_uri, why);
	return ret;
}
