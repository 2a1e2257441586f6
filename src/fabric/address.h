/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FABRIC_ADDRESS_H
#define FABRIC_ADDRESS_H

/* Fabric addresses as they travel, and where this host stands. Pure, but for the boot's name. */

#include "fabric/fabric.h"
#include "format/wire.h"

struct wire_address fabric_address_to_wire(const struct fabric_address *address);

/* -EPROTO for one that cannot be; an address that is not offered has bytes 0 and is fine. */
int fabric_address_from_wire(const struct wire_address *wire, struct fabric_address *ret_address);

/* What two processes have in common exactly when they run on one booted host. 0 or -errno. */
int fabric_boot_id(uint8_t ret_boot_id[WIRE_BOOT_ID_BYTES]);

#endif
