/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/address.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

_Static_assert(WIRE_ADDRESS_BYTES == FABRIC_ADDRESS_BYTES, "an address fits its message");
_Static_assert(WIRE_TRANSPORTS == FABRIC_TRANSPORTS, "a message has a place for each transport");

struct wire_address fabric_address_to_wire(const struct fabric_address *address)
{
	struct wire_address wire = {
		.bytes = le32_of(address->bytes),
		.protocol = le32_of(address->protocol),
		.base = le64_of(address->base),
		.key = le64_of(address->key),
	};

	memcpy(wire.data, address->data, sizeof(wire.data));
	return wire;
}

int fabric_address_from_wire(const struct wire_address *wire, struct fabric_address *ret_address)
{
	if (le32_get(wire->bytes) > FABRIC_ADDRESS_BYTES)
		return -EPROTO;
	ret_address->bytes = le32_get(wire->bytes);
	ret_address->protocol = le32_get(wire->protocol);
	ret_address->base = le64_get(wire->base);
	ret_address->key = le64_get(wire->key);
	memcpy(ret_address->data, wire->data, sizeof(ret_address->data));
	return 0;
}

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

int fabric_boot_id(uint8_t ret_boot_id[WIRE_BOOT_ID_BYTES])
{
	CLEANUP_FD int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof(text));
	unsigned digits = 0;

	memset(ret_boot_id, 0, WIRE_BOOT_ID_BYTES);
	if (bytes < 0)
		return -errno;
	for (ssize_t i = 0; i < bytes && digits < 2 * WIRE_BOOT_ID_BYTES; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			continue;
		ret_boot_id[digits / 2] = (uint8_t)(ret_boot_id[digits / 2] << 4 | digit);
		digits++;
	}
	return digits == 2 * WIRE_BOOT_ID_BYTES ? 0 : -EPROTO;
}
