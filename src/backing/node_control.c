/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/node_control.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/descriptor.h"

#define NS_PER_MS 1000000u

/* A connection while it is made: the moment by which all must be done, and the nonces. */
struct handshake {
	uint64_t until_ns;
	struct wire_challenge challenge;
	struct wire_hello hello;
};

static int wait_for(int fd, short what, uint64_t until_ns)
{
	for (;;) {
		struct pollfd wanted = { .fd = fd, .events = what };
		uint64_t now_ns = clock_now_ns();
		int ret;

		if (now_ns >= until_ns)
			return -ETIMEDOUT;
		ret = poll(&wanted, 1, (int)((until_ns - now_ns) / NS_PER_MS) + 1);
		if (ret > 0)
			return 0;
		if (ret < 0 && errno != EINTR)
			return -errno;
	}
}

static int send_whole(int fd, const void *message, size_t bytes, uint64_t until_ns)
{
	for (;;) {
		ssize_t sent = send(fd, message, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		int ret;

		if (sent == (ssize_t)bytes)
			return 0;
		if (sent >= 0)
			return -EPIPE; /* the node does not read; half a message cannot be mended */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		ret = wait_for(fd, POLLOUT, until_ns);
		if (ret)
			return ret;
	}
}

static int receive_whole(int fd, void *message, enum wire_type type, uint64_t until_ns)
{
	size_t bytes = 0;
	enum wire_type got;

	for (;;) {
		int ret = wire_look(message, bytes, WIRE_BIT(type), &got);
		ssize_t more;

		if (ret != -EAGAIN)
			return ret;
		more = recv(fd, (char *)message + bytes, wire_bytes_of(type) - bytes, MSG_DONTWAIT);
		if (more == 0)
			return -ECONNRESET;
		if (more > 0) {
			bytes += (size_t)more;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		ret = wait_for(fd, POLLIN, until_ns);
		if (ret)
			return ret;
	}
}

static int unreachable(const struct node_control *control, int ret, struct error *why)
{
	const char *reason = strerror(-ret);

	if (ret == -ETIMEDOUT)
		return error_set(why, ret, "node %s does not answer within %u ms",
				 control->uri.place, control->wait_ms_max);
	if (ret == -EPROTO)
		reason = "what answers there is no memory node";
	if (ret == -EPROTONOSUPPORT)
		reason = "it is of another version of Perdure";
	return error_set(why, ret, "cannot reach node %s: %s", control->uri.place, reason);
}

static int resolve(struct node_control *control, struct error *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *info;
	int ret;

	if (control->address_bytes)
		return 0;
	ret = getaddrinfo(control->uri.host, control->uri.port, &hints, &info);
	if (ret)
		return error_set(why, -EHOSTUNREACH, "cannot reach node %s: %s", control->uri.place,
				 gai_strerror(ret));
	memcpy(&control->address, info->ai_addr, info->ai_addrlen);
	control->address_bytes = info->ai_addrlen;
	freeaddrinfo(info);
	return 0;
}

static int connect_socket(struct node_control *control, uint64_t until_ns, int *ret_fd)
{
	const struct sockaddr *address = (const struct sockaddr *)&control->address;
	CLEANUP_FD int fd =
		socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t bytes = sizeof(int);
	int error = 0, one = 1, ret;

	if (fd < 0)
		return -errno;
	if (connect(fd, address, control->address_bytes)) {
		if (errno != EINPROGRESS)
			return -errno;
		ret = wait_for(fd, POLLOUT, until_ns);
		if (ret)
			return ret;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) || error)
			return error ? -error : -errno;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*ret_fd = take_fd(&fd);
	return 0;
}

static void make_prefix(const struct handshake *handshake, const char label[static 16],
			const struct node_ticket *ticket, struct wire_proof_prefix *ret_prefix)
{
	memset(ret_prefix, 0, sizeof(*ret_prefix));
	memcpy(ret_prefix->label, label, sizeof(ret_prefix->label));
	memcpy(ret_prefix->node_nonce, handshake->challenge.nonce, WIRE_NONCE_BYTES);
	memcpy(ret_prefix->client_nonce, handshake->hello.nonce, WIRE_NONCE_BYTES);
	if (ticket)
		memcpy(ret_prefix->secret, ticket->secret, sizeof(ret_prefix->secret));
}

static int make_hello(struct node_control *control, const struct node_ticket *ticket,
		      struct handshake *handshake)
{
	struct wire_hello *hello = &handshake->hello;
	struct wire_proof_prefix prefix;
	int ret;

	*hello = (struct wire_hello){
		.header = wire_header_of(WIRE_HELLO),
		.session = le64_of(ticket ? ticket->session : 0),
		.transports = le32_of(control->uri.transports),
		.pid = le32_of((uint32_t)getpid()),
	};
	ret = fabric_boot_id(hello->boot_id);
	control->same_host = !ret && !memcmp(hello->boot_id, handshake->challenge.boot_id,
					     sizeof(hello->boot_id));
	if (getrandom(hello->nonce, sizeof(hello->nonce), 0) < 0)
		return -errno;
	make_prefix(handshake, WIRE_LABEL_CLIENT, ticket, &prefix);
	return cluster_key_prove(control->module, &control->key, &prefix, hello,
				 WIRE_PROVEN_BYTES(wire_hello), hello->proof);
}

static int wrong_key(const struct node_control *control, struct error *why)
{
	return error_set(why, -EKEYREJECTED, "node %s has another cluster key than %s",
			 control->uri.place,
			 control->key.bytes ? "the one given" : "none; give --key-file");
}

static int take_welcome(struct node_control *control, const struct handshake *handshake,
			const struct wire_welcome *welcome, struct error *why)
{
	int refusal = -(int)le32_get(welcome->result);
	struct wire_proof_prefix prefix;
	char words[WIRE_WORDS_BYTES];
	int ret = 0;

	if (refusal == -EKEYREJECTED)
		return wrong_key(control, why);
	make_prefix(handshake, WIRE_LABEL_NODE, NULL, &prefix);
	if (cluster_key_check(control->module, &control->key, &prefix, welcome,
			      WIRE_PROVEN_BYTES(wire_welcome), welcome->proof))
		return wrong_key(control, why);
	wire_words(welcome->words, words);
	if (refusal)
		return error_set(why, refusal, "node %s %s", control->uri.place, words);
	control->ticket.session = le64_get(welcome->session);
	memcpy(control->ticket.secret, welcome->secret, sizeof(control->ticket.secret));
	control->quota_bytes = le64_get(welcome->quota_bytes);
	for (unsigned i = 0; i < FABRIC_TRANSPORTS && !ret; i++)
		ret = fabric_address_from_wire(&welcome->addresses[i], &control->addresses[i]);
	return ret ? unreachable(control, ret, why) : 0;
}

int node_control_connect(struct node_control *control, const struct node_ticket *ticket,
			 struct error *why)
{
	struct handshake handshake = {
		.until_ns = clock_now_ns() + (uint64_t)control->wait_ms_max * NS_PER_MS,
	};
	struct wire_welcome welcome;
	CLEANUP_FD int fd = -1;
	int ret = resolve(control, why);

	node_control_close(control);
	if (ret)
		return ret;
	ret = connect_socket(control, handshake.until_ns, &fd);
	if (!ret)
		ret = receive_whole(fd, &handshake.challenge, WIRE_CHALLENGE, handshake.until_ns);
	if (!ret)
		ret = make_hello(control, ticket, &handshake);
	if (!ret)
		ret = send_whole(fd, &handshake.hello, sizeof(handshake.hello), handshake.until_ns);
	if (!ret)
		ret = receive_whole(fd, &welcome, WIRE_WELCOME, handshake.until_ns);
	if (ret)
		return unreachable(control, ret, why);
	ret = take_welcome(control, &handshake, &welcome, why);
	if (ret)
		return ret;
	control->fd = descriptor_move_up(take_fd(&fd));
	return 0;
}

void node_control_close(struct node_control *control)
{
	descriptor_close(take_fd(&control->fd));
}

int node_control_open_lines(const struct node_control *control, int *ret_fd, struct error *why)
{
	struct node_control lines = *control;
	int ret;

	lines.fd = -1;
	lines.uri.transports = 0;
	ret = node_control_connect(&lines, &control->ticket, why);
	explicit_bzero(&lines.key, sizeof(lines.key));
	*ret_fd = lines.fd;
	return ret;
}

int node_control_extend(struct node_control *control, uint64_t bytes, struct error *why)
{
	uint64_t until_ns = clock_now_ns() + (uint64_t)control->wait_ms_max * NS_PER_MS;
	struct wire_extend extend = { .header = wire_header_of(WIRE_EXTEND),
				      .bytes = le64_of(bytes) };
	struct wire_extended answer;
	char words[WIRE_WORDS_BYTES];
	int ret = control->fd < 0 ? -ECONNRESET : 0;

	if (!ret)
		ret = send_whole(control->fd, &extend, sizeof(extend), until_ns);
	if (!ret)
		ret = receive_whole(control->fd, &answer, WIRE_EXTENDED, until_ns);
	if (ret) {
		/* An answer that came later would be taken for the next one's. */
		shutdown(control->fd, SHUT_RDWR);
		return unreachable(control, ret, why);
	}
	if (!le32_get(answer.result) && le64_get(answer.bytes) >= bytes)
		return 0;
	wire_words(answer.words, words);
	return error_set(why, -ENOSPC, "node %s %s", control->uri.place, words);
}

bool node_control_ring(const struct node_control *control)
{
	struct wire_ring ring = { .header = wire_header_of(WIRE_RING) };
	ssize_t sent = send(control->fd, &ring, sizeof(ring), MSG_NOSIGNAL | MSG_DONTWAIT);

	/* Full of rings that the worker has not read yet: it is rung. */
	return sent == sizeof(ring) || (sent < 0 && errno == EAGAIN);
}

bool node_control_is_closed(const struct node_control *control)
{
	char byte;
	ssize_t got = recv(control->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}
