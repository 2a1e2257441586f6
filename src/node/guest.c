/* SPDX-License-Identifier: Apache-2.0 */
#include "node/guest.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

static void name_peer(const struct sockaddr *address, socklen_t bytes, char *ret_name)
{
	char host[64] = "?", port[8] = "?";

	getnameinfo(address, bytes, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(ret_name, NODE_PEER_BYTES, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static int challenge(struct guest *guest, const struct session_table *table)
{
	struct wire_challenge message = { .header = wire_header_of(WIRE_CHALLENGE) };

	if (getrandom(guest->nonce, sizeof(guest->nonce), 0) < 0)
		return -errno;
	memcpy(message.nonce, guest->nonce, sizeof(message.nonce));
	memcpy(message.boot_id, table->boot_id, sizeof(message.boot_id));
	if (send(guest->fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    sizeof(message))
		return -EPIPE;
	return 0;
}

int guest_accept(int listening, const struct session_table *table, struct guest **ret_guest)
{
	struct sockaddr_storage address;
	socklen_t address_bytes = sizeof(address);
	struct guest *guest;
	int one = 1;
	int fd = accept4(listening, (struct sockaddr *)&address, &address_bytes,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	guest = calloc(1, sizeof(*guest));
	if (!guest) {
		close(fd);
		return -ENOMEM;
	}
	guest->fd = fd;
	guest->accepted_ns = clock_now_ns();
	name_peer((struct sockaddr *)&address, address_bytes, guest->peer);
	/* A client whose host is lost says nothing; the kernel finds out, and its memory comes
	 * back. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){ 20 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){ 5 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){ 4 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (challenge(guest, table)) {
		guest_free(guest);
		return -ECONNABORTED;
	}
	*ret_guest = guest;
	return 0;
}

void guest_free(struct guest *guest)
{
	if (!guest)
		return;
	close(guest->fd);
	free(guest);
}

static void make_prefix(const struct guest *guest, const struct wire_hello *hello,
			const char label[static 16], struct wire_proof_prefix *ret_prefix)
{
	memset(ret_prefix, 0, sizeof(*ret_prefix));
	memcpy(ret_prefix->label, label, sizeof(ret_prefix->label));
	memcpy(ret_prefix->node_nonce, guest->nonce, sizeof(ret_prefix->node_nonce));
	memcpy(ret_prefix->client_nonce, hello->nonce, sizeof(ret_prefix->client_nonce));
}

static void refuse(struct guest *guest, const struct session_table *table,
		   const struct wire_hello *hello, int result, const char *words)
{
	struct wire_welcome message = { .header = wire_header_of(WIRE_WELCOME),
					.result = le32_of((uint32_t)-result) };
	struct wire_proof_prefix prefix;
	ssize_t ret;

	snprintf(message.words, sizeof(message.words), "%.*s", WIRE_WORDS_BYTES - 1, words);
	make_prefix(guest, hello, WIRE_LABEL_NODE, &prefix);
	if (cluster_key_prove(table->module, &table->options->key, &prefix, &message,
			      WIRE_PROVEN_BYTES(wire_welcome), message.proof))
		return;
	ret = send(guest->fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)ret; /* the connection is closed next in any case */
}

static void add_pid(struct guest *guest, const struct wire_hello *hello)
{
	size_t length = strlen(guest->peer);

	snprintf(guest->peer + length, sizeof(guest->peer) - length, " (pid %u)",
		 le32_get(hello->pid));
}

static int check_hello(struct guest *guest, const struct session_table *table, struct error *why)
{
	const struct wire_hello *hello = (const struct wire_hello *)guest->arrived;
	uint64_t number = le64_get(hello->session);
	struct session *session = number ? session_find(table, number) : NULL;
	struct wire_proof_prefix prefix;
	int ret;

	add_pid(guest, hello);
	make_prefix(guest, hello, WIRE_LABEL_CLIENT, &prefix);
	if (session)
		memcpy(prefix.secret, session->secret, sizeof(prefix.secret));
	ret = cluster_key_check(table->module, &table->options->key, &prefix, hello,
				WIRE_PROVEN_BYTES(wire_hello), hello->proof);
	/* A session that has ended: its secret is not known any more, so neither is the proof. */
	if (ret == -EKEYREJECTED && number && !session) {
		refuse(guest, table, hello, -ESTALE, "does not know this session any more");
		return error_set(why, -ESTALE, "it names a session that has ended");
	}
	if (ret) {
		refuse(guest, table, hello, -EKEYREJECTED, "refuses the key");
		return error_set(why, -EKEYREJECTED, "it does not have the key");
	}
	return 0;
}

int guest_receive(struct guest *guest, const struct session_table *table, struct error *why)
{
	enum wire_type type;
	ssize_t bytes = recv(guest->fd, guest->arrived + guest->arrived_bytes,
			     sizeof(guest->arrived) - guest->arrived_bytes, MSG_DONTWAIT);
	int ret;

	if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (bytes <= 0)
		return error_set(why, -EPIPE, "it left without a hello");
	guest->arrived_bytes += (size_t)bytes;
	ret = wire_look(guest->arrived, guest->arrived_bytes, WIRE_BIT(WIRE_HELLO), &type);
	if (ret == -EAGAIN)
		return ret;
	if (ret == -EPROTONOSUPPORT)
		return error_set(why, ret, "it speaks another version of the protocol");
	if (ret)
		return error_set(why, ret, "it sent what is no hello");
	return check_hello(guest, table, why);
}

int guest_admit(struct guest *guest, struct session_table *table, struct session **ret_session,
		bool *ret_new, struct error *why)
{
	const struct wire_hello *hello = (const struct wire_hello *)guest->arrived;
	uint64_t number = le64_get(hello->session);
	struct task task = { .kind = TASK_CONNECTION, .hello = *hello };
	struct session *session = number ? session_find(table, number) : NULL;
	int ret = 0;

	if (!number)
		ret = session_begin(table, guest->peer, &session, why);
	else if (!session)
		ret = error_set(why, -ESTALE, "does not know this session any more");
	if (!ret) {
		memcpy(task.node_nonce, guest->nonce, sizeof(task.node_nonce));
		snprintf(task.peer, sizeof(task.peer), "%s", guest->peer);
		ret = task_send(session->socket, &task, guest->fd);
		if (ret)
			error_set(why, ret, "has a worker that does not answer");
	}
	if (ret) {
		refuse(guest, table, hello, ret, why->text);
		return ret;
	}
	*ret_session = session;
	*ret_new = !number;
	return 0;
}
