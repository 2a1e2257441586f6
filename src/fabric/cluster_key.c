/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/cluster_key.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret_file.h"

_Static_assert(WIRE_PROOF_BYTES == FABRIC_PROOF_BYTES, "the module makes the wire's proofs");

/* One byte more than a key may have tells a file that is too long. */
static int read_all(int fd, uint8_t *buffer, size_t buffer_bytes, size_t *ret_bytes)
{
	size_t bytes = 0;

	while (bytes < buffer_bytes) {
		ssize_t got = read(fd, buffer + bytes, buffer_bytes - bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		bytes += (size_t)got;
	}
	*ret_bytes = bytes;
	return 0;
}

static size_t without_line_end(const uint8_t *bytes, size_t count)
{
	if (count && bytes[count - 1] == '\n')
		count--;
	if (count && bytes[count - 1] == '\r')
		count--;
	return count;
}

int cluster_key_read(const char *path, struct cluster_key *ret_key, struct error *why)
{
	CLEANUP_FD int fd = -1;
	uint8_t buffer[CLUSTER_KEY_BYTES_MAX + 3];
	size_t bytes = 0;
	int ret;

	memset(ret_key, 0, sizeof(*ret_key));
	if (!path)
		return 0;
	ret = secret_file_open(path, "key file", &fd, why);
	if (ret)
		return ret;
	ret = read_all(fd, buffer, sizeof(buffer), &bytes);
	if (ret)
		return error_set(why, ret, "cannot read key file \"%s\": %s", path, strerror(-ret));
	bytes = without_line_end(buffer, bytes);
	if (bytes < CLUSTER_KEY_BYTES_MIN || bytes > CLUSTER_KEY_BYTES_MAX)
		return error_set(why, -EINVAL,
				 "key file \"%s\" holds %s than the %d bytes that a key may have",
				 path, bytes < CLUSTER_KEY_BYTES_MIN ? "less" : "more",
				 bytes < CLUSTER_KEY_BYTES_MIN ? CLUSTER_KEY_BYTES_MIN
							       : CLUSTER_KEY_BYTES_MAX);
	memcpy(ret_key->secret, buffer, bytes);
	ret_key->bytes = bytes;
	explicit_bzero(buffer, sizeof(buffer));
	return 0;
}

int cluster_key_prove(const struct fabric_module *module, const struct cluster_key *key,
		      const struct wire_proof_prefix *prefix, const void *message,
		      size_t message_bytes, uint8_t ret_proof[WIRE_PROOF_BYTES])
{
	return module->proof(key->secret, key->bytes, prefix, sizeof(*prefix), message,
			     message_bytes, ret_proof);
}

int cluster_key_check(const struct fabric_module *module, const struct cluster_key *key,
		      const struct wire_proof_prefix *prefix, const void *message,
		      size_t message_bytes, const uint8_t proof[WIRE_PROOF_BYTES])
{
	uint8_t right[WIRE_PROOF_BYTES];
	int ret = cluster_key_prove(module, key, prefix, message, message_bytes, right);

	if (ret)
		return ret;
	return wire_proof_equal(right, proof) ? 0 : -EKEYREJECTED;
}
