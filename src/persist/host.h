/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_HOST_H
#define PERSIST_HOST_H

/*
 * Which host this is, for images: a digest of /etc/machine-id with a text of our own before it, as
 * machine-id(5) asks of those who show it to others. In words when there is none.
 */

#include "base/error.h"
#include "format/image.h"

int host_id(uint8_t ret_id[IMAGE_ID_BYTES], struct error *why);

#endif
