/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FABRIC_CLUSTER_KEY_H
#define FABRIC_CLUSTER_KEY_H

/*
 * The secret that nodes and clients of one cluster share, and the proofs that show one has it
 * (format/wire.h). Control path, any thread.
 */

#include "fabric/fabric.h"
#include "format/wire.h"

#define CLUSTER_KEY_BYTES_MIN 16   /* fewer can be guessed */
#define CLUSTER_KEY_BYTES_MAX 1024 /* more is another file given by mistake */

struct cluster_key {
	size_t bytes; /* 0: no key, which a node accepts on loopback only */
	uint8_t secret[CLUSTER_KEY_BYTES_MAX];
};

/*
 * The whole of the file, without the line end that an editor left. In words: a file that cannot be
 * read, that others may read, that is too short or too long. NULL is the empty key.
 */
int cluster_key_read(const char *path, struct cluster_key *ret_key, struct error *why);

/* The proof over `prefix` and the part of the message in front of its own proof. */
int cluster_key_prove(const struct fabric_module *module, const struct cluster_key *key,
		      const struct wire_proof_prefix *prefix, const void *message,
		      size_t message_bytes, uint8_t ret_proof[WIRE_PROOF_BYTES]);

/* 0, -EKEYREJECTED when `proof` is not that of the key, or another -errno. */
int cluster_key_check(const struct fabric_module *module, const struct cluster_key *key,
		      const struct wire_proof_prefix *prefix, const void *message,
		      size_t message_bytes, const uint8_t proof[WIRE_PROOF_BYTES]);

#endif
