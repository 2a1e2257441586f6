/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_TASK_H
#define NODE_TASK_H

/*
 * What the keeper and a worker say to each other, over a SOCK_SEQPACKET pair: one struct a message,
 * both of one build.
 */

#include <stdint.h>

#include "node/node.h"

enum task_kind {
	TASK_CONNECTION, /* to the worker, with a descriptor: a process of the session has proved
			    the key */
	TASK_WANT,	 /* to the keeper: bytes in all, please */
	TASK_GRANT,	 /* to the worker: result, bytes in all now, words */
	TASK_RETURN,	 /* to the keeper: only so many bytes in all are used after all */
};

struct task {
	enum task_kind kind;
	int result;
	uint64_t bytes;
	uint8_t node_nonce[WIRE_NONCE_BYTES];
	struct wire_hello hello;
	char peer[NODE_PEER_BYTES];
	char words[WIRE_WORDS_BYTES];
};

/*
 * Neither waits. `fd` -1: none goes along. -EAGAIN from task_send(): the other side does not read.
 * task_receive() gives -EAGAIN when nothing is there and -EPIPE when the other side has ended.
 */
int task_send(int socket, const struct task *task, int fd);
int task_receive(int socket, struct task *ret_task, int *ret_fd);

#endif
