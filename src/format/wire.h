/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_WIRE_H
#define FORMAT_WIRE_H

/*
 * The control protocol between a client (backing/node.c) and a memory node (node/), on one TCP
 * connection for each process of the client. Whole pages never travel here, but by the fabric.
 *
 *	node	CHALLENGE	a nonce, and which host and boot this is
 *	client	HELLO		a nonce, new session or a ticket to join one, and its proof
 *	node	WELCOME		its proof, the ticket, the fabric addresses; or the refusal in words
 *	client	EXTEND		so many bytes must be usable
 *	node	EXTENDED	they are; or the refusal in words
 *	client	RING		wake up: the fabric has something for you (no answer)
 *
 * A hello of no transport makes a connection for stores of lines, behind its welcome:
 *
 *	client	LINES		with a body behind it (format/wire_lines.h); several may wait
 *	node	STORED		the first that waits is in memory
 *
 * Every message has a fixed size by its type; anything else ends the connection. Integers are
 * little-endian. A proof is HMAC-SHA256 under the cluster key over both nonces and everything
 * that its message says, so that neither side talks to one without the key, and nothing of the
 * handshake can be altered or replayed. The session ends with its last connection.
 */

#include <stddef.h>
#include <stdint.h>

#include "format/le.h"

#define WIRE_MAGIC 0x4e726450u /* "PdrN" read as little-endian bytes */
#define WIRE_VERSION 2
#define WIRE_PORT 7440
#define WIRE_NONCE_BYTES 32
#define WIRE_PROOF_BYTES 32
#define WIRE_SECRET_BYTES 32
#define WIRE_BOOT_ID_BYTES 16
#define WIRE_WORDS_BYTES 200 /* one line for a person, with its final NUL */
#define WIRE_ADDRESS_BYTES 128
#define WIRE_TRANSPORTS 3 /* tcp, shm, cma: the order of enum fabric_transport */

enum wire_type {
	WIRE_CHALLENGE = 1,
	WIRE_HELLO,
	WIRE_WELCOME,
	WIRE_EXTEND,
	WIRE_EXTENDED,
	WIRE_RING,
	WIRE_LINES,
	WIRE_STORED,
	WIRE_TYPES,
};

struct wire_header {
	le32 magic;
	le16 version;
	le16 type;
	le32 bytes; /* of the whole message */
	le32 reserved;
};

struct wire_challenge {
	struct wire_header header;
	uint8_t nonce[WIRE_NONCE_BYTES];
	uint8_t boot_id[WIRE_BOOT_ID_BYTES];
};

struct wire_hello {
	struct wire_header header;
	uint8_t nonce[WIRE_NONCE_BYTES];
	uint8_t boot_id[WIRE_BOOT_ID_BYTES];
	le64 session;	 /* 0: begin one */
	le32 transports; /* a bit for each that the client may use; 0: for lines only */
	le32 pid;	 /* of the client on its host, for the node's log */
	uint8_t proof[WIRE_PROOF_BYTES];
};

struct wire_address {
	le32 bytes; /* 0: not offered */
	le32 protocol;
	le64 base;
	le64 key;
	uint8_t data[WIRE_ADDRESS_BYTES];
};

struct wire_welcome {
	struct wire_header header;
	le32 result; /* 0 or the errno of a refusal */
	le32 reserved;
	le64 session;
	le64 quota_bytes;
	uint8_t secret[WIRE_SECRET_BYTES]; /* with the session's number, the ticket */
	struct wire_address addresses[WIRE_TRANSPORTS];
	char words[WIRE_WORDS_BYTES];
	uint8_t proof[WIRE_PROOF_BYTES];
};

struct wire_extend {
	struct wire_header header;
	le64 bytes; /* usable in all, not more */
};

struct wire_extended {
	struct wire_header header;
	le32 result;
	le32 reserved;
	le64 bytes; /* usable now */
	char words[WIRE_WORDS_BYTES];
};

struct wire_ring {
	struct wire_header header;
};

struct wire_lines {
	struct wire_header header;
	le32 page_count;
	le32 body_bytes; /* behind this, and not counted in the header */
};

struct wire_stored {
	struct wire_header header;
};

/* What a proof is taken over, in front of the message without its proof. */
struct wire_proof_prefix {
	char label[16];
	uint8_t node_nonce[WIRE_NONCE_BYTES];
	uint8_t client_nonce[WIRE_NONCE_BYTES];
	uint8_t secret[WIRE_SECRET_BYTES]; /* of the session that is joined, or zero */
};

#define WIRE_LABEL_CLIENT "perdure client 1"
#define WIRE_LABEL_NODE "perdure node   1"
#define WIRE_PROVEN_BYTES(type) offsetof(struct type, proof)

_Static_assert(sizeof(struct wire_header) == 16, "the layout is the format");
_Static_assert(sizeof(struct wire_challenge) == 64, "the layout is the format");
_Static_assert(sizeof(struct wire_hello) == 112, "the layout is the format");
_Static_assert(sizeof(struct wire_address) == 152, "the layout is the format");
_Static_assert(sizeof(struct wire_welcome) == 760, "the layout is the format");
_Static_assert(sizeof(struct wire_extend) == 24, "the layout is the format");
_Static_assert(sizeof(struct wire_extended) == 232, "the layout is the format");
_Static_assert(sizeof(struct wire_lines) == 24, "the layout is the format");
_Static_assert(sizeof(struct wire_proof_prefix) == 112, "the layout is the format");

#define WIRE_MESSAGE_BYTES_MAX sizeof(struct wire_welcome)

struct wire_header wire_header_of(enum wire_type type);

/* Bytes of a whole message of a type; 0 for a type that is not known. */
size_t wire_bytes_of(unsigned type);

/*
 * What the first `bytes` of what has arrived begin with: 0 with *ret_type when one whole message is
 * there; -EAGAIN when more must arrive for it; -EPROTO when it is none of this protocol's, or not
 * of a type whose bit is set in `expected`; -EPROTONOSUPPORT for another version. Rubbish is told
 * as soon as its first wrong byte is there.
 */
int wire_look(const void *buffer, size_t bytes, unsigned expected, enum wire_type *ret_type);

#define WIRE_BIT(type) (1u << (type))

/* The words of a message as a string, whatever bytes came: printable ASCII, ended. */
void wire_words(const char words[static WIRE_WORDS_BYTES], char ret_text[static WIRE_WORDS_BYTES]);

/* Equality in a time that does not depend on where they differ. */
int wire_proof_equal(const uint8_t a[static WIRE_PROOF_BYTES],
		     const uint8_t b[static WIRE_PROOF_BYTES]);

#endif
