/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/bytes.h"
#include "base/option.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "node/node.h"

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT "7440"
#define MEMORY_BYTES_MIN (16 * MIB) /* a client's capacity grows in steps of this */

struct arguments {
	struct node_options node;
	const char *key_file;
	char host[256];
	char port[8];
};

/* "ADDR:PORT", "[ADDR]:PORT", "ADDR" or ":PORT". */
static int take_listen(void *target, const char *text, struct error *why)
{
	struct arguments *arguments = target;
	const char *colon = strrchr(text, ':');
	size_t host_bytes = colon ? (size_t)(colon - text) : strlen(text);
	unsigned long port;

	if (colon && option_parse_number(colon + 1, 0, 65535, &port, NULL))
		return error_set(why, -EINVAL, "\"%s\" is not ADDR:PORT", text);
	if (host_bytes >= 2 && text[0] == '[' && text[host_bytes - 1] == ']') {
		text++;
		host_bytes -= 2;
	}
	if (host_bytes >= sizeof(arguments->host))
		return error_set(why, -EINVAL, "\"%.60s...\" is too long", text);
	if (colon)
		snprintf(arguments->port, sizeof(arguments->port), "%lu", port);
	if (host_bytes) {
		memcpy(arguments->host, text, host_bytes);
		arguments->host[host_bytes] = '\0';
	}
	return 0;
}

static int take_size(uint64_t *ret_bytes, const char *text, struct error *why)
{
	uint64_t bytes;
	int ret = parse_size(text, &bytes, why);

	if (ret)
		return ret;
	if (bytes < MEMORY_BYTES_MIN || bytes > (uint64_t)1 << 46)
		return error_set(why, -EINVAL, "\"%s\" is not between 16M and 64T", text);
	*ret_bytes = bytes / NODE_GRANT_BYTES * NODE_GRANT_BYTES;
	return 0;
}

static int take_memory(void *target, const char *text, struct error *why)
{
	return take_size(&((struct arguments *)target)->node.memory_bytes, text, why);
}

static int take_quota(void *target, const char *text, struct error *why)
{
	return take_size(&((struct arguments *)target)->node.quota_bytes, text, why);
}

static int take_key_file(void *target, const char *text, struct error *why)
{
	((struct arguments *)target)->key_file = text;
	return 0;
}

static int take_pid_file(void *target, const char *text, struct error *why)
{
	((struct arguments *)target)->node.pid_file = text;
	return 0;
}

static int take_transport(void *target, const char *text, struct error *why)
{
	static const struct {
		const char *name;
		uint32_t transports;
	} names[] = {
		{ "auto", 1u << FABRIC_TCP | 1u << FABRIC_SHM | 1u << FABRIC_CMA },
		{ "tcp", 1u << FABRIC_TCP },
		{ "shm", 1u << FABRIC_SHM },
		{ "cma", 1u << FABRIC_CMA },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		if (!strcmp(names[i].name, text)) {
			((struct arguments *)target)->node.transports = names[i].transports;
			return 0;
		}
	}
	return error_set(why, -EINVAL, "\"%s\" is none of auto, tcp, shm and cma", text);
}

static const struct option_spec specs[] = {
	{ "listen", "ADDR:PORT",
	  "where clients connect (default: " DEFAULT_HOST ":" DEFAULT_PORT
	  "); port 0 takes a free one",
	  take_listen },
	{ "memory", "SIZE", "lent in all (default: half of what is free now)", take_memory },
	{ "quota", "SIZE", "lent to one client at the most (default: all)", take_quota },
	{ "key-file", "FILE", "the cluster key; without one only loopback is served",
	  take_key_file },
	{ "transport", "NAME", "offer only this one: auto, tcp, shm or cma (default: auto)",
	  take_transport },
	{ "pid-file", "FILE", "write the process's number here once clients can connect",
	  take_pid_file },
};

static uint64_t default_memory(void)
{
	struct sysinfo info;
	uint64_t bytes = 0;

	if (!sysinfo(&info))
		bytes = ((uint64_t)info.freeram + info.bufferram) * info.mem_unit / 2;
	bytes = bytes / NODE_GRANT_BYTES * NODE_GRANT_BYTES;
	return bytes < MEMORY_BYTES_MIN ? MEMORY_BYTES_MIN : bytes;
}

static int fail(int ret, const struct error *why)
{
	fprintf(stderr, "perdure node: %s\n", why->text);
	return ret == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

int cmd_node(int argc, char **argv)
{
	static struct arguments arguments = { .host = DEFAULT_HOST, .port = DEFAULT_PORT };
	struct error why;
	int ret;

	take_transport(&arguments, "auto", NULL);
	if (!command_line_read("Lends this host's memory to others.", specs, ARRAY_COUNT(specs),
			       argc, argv, &arguments, &ret))
		return ret;
	if (!arguments.node.memory_bytes)
		arguments.node.memory_bytes = default_memory();
	arguments.node.listen_host = arguments.host;
	arguments.node.listen_port = arguments.port;
	ret = cluster_key_read(arguments.key_file, &arguments.node.key, &why);
	if (ret)
		return fail(-EIO, &why);
	ret = node_run(&arguments.node, &why);
	return ret ? fail(ret, &why) : EXIT_DONE;
}
