/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that read and write memory which ballast has pushed out just before: never EFAULT
 * where the memory is there, always where it is not, and the right bytes.
 */
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "program.h"

#define BLOCK (64 * PAGE)

static struct arguments arguments;
static struct ballast ballast;
static uint64_t generation;

/* Memory with a fresh pattern; *ret_generation names it. */
static uint8_t *far_block(size_t bytes, uint64_t *ret_generation)
{
	uint8_t *memory = map_anonymous(bytes);
	*ret_generation = ++generation;
	words_fill(memory, bytes, generation, arguments.seed);
	return memory;
}

static void push_out(void)
{
	ballast_press(&ballast);
}

static void files(void)
{
	uint64_t name;
	uint8_t *from = far_block(BLOCK, &name), *to = map_anonymous(BLOCK);
	int fd = temporary_file(0);
	CHECK(fd >= 0);
	memset(to, 0xff, BLOCK);
	push_out();
	CHECK(write(fd, from, BLOCK) == (ssize_t)BLOCK);
	CHECK(pread(fd, to, BLOCK, 0) == (ssize_t)BLOCK);
	words_check(to, BLOCK, name, arguments.seed, "pread");
	struct iovec *parts = map_anonymous(PAGE);
	for (size_t part = 0; part < 64; part++)
		parts[part] = (struct iovec){ to + (63 - part) * PAGE, PAGE };
	memset(to, 0xee, BLOCK);
	push_out();
	CHECK(preadv(fd, parts, 64, 0) == (ssize_t)BLOCK);
	push_out();
	CHECK(pwritev(fd, parts, 64, 0) == (ssize_t)BLOCK);
	memset(from, 0, BLOCK);
	push_out();
	CHECK(lseek(fd, 0, SEEK_SET) == 0 &&
	      readv(fd, &(struct iovec){ from, BLOCK }, 1) == (ssize_t)BLOCK);
	words_check(from, BLOCK, name, arguments.seed, "readv");
	struct stat *status = map_anonymous(PAGE);
	struct flock *lock = map_anonymous(PAGE);
	int *waiting = map_anonymous(PAGE);
	*lock = (struct flock){ .l_type = F_WRLCK };
	push_out();
	CHECK(fstat(fd, status) == 0 && status->st_size == (off_t)BLOCK);
	CHECK(fcntl(fd, F_GETLK, lock) == 0 && lock->l_type == F_UNLCK);
	push_out();
	CHECK(ioctl(fd, FIONREAD, waiting) == 0 && *waiting == 0);
	close(fd);
	munmap(from, BLOCK);
	munmap(to, BLOCK);
}

/* One call whose buffer is larger than what may be local. */
static void large_read(void)
{
	size_t bytes = arguments.bytes;
	int fd = temporary_file(0);
	uint64_t name;
	uint8_t *memory = far_block(bytes, &name);
	for (size_t done = 0; done < bytes;) {
		ssize_t got = write(fd, memory + done, bytes - done);
		CHECK(got > 0);
		done += (size_t)got;
	}
	memset(memory, 0, bytes);
	CHECK(pread(fd, memory, bytes, 0) == (ssize_t)bytes);
	words_check(memory, bytes, name, arguments.seed, "large read");
	CHECK(getrandom(memory, bytes / 4, 0) > 0);
	close(fd);
	munmap(memory, bytes);
}

static void absent(void)
{
	uint8_t *memory = map_anonymous(4 * PAGE);
	int fd = temporary_file(0);
	CHECK(ftruncate(fd, 8 * PAGE) == 0);
	CHECK(munmap(memory + 2 * PAGE, PAGE) == 0);
	errno = 0;
	CHECK(pread(fd, memory + 2 * PAGE, PAGE, 0) == -1 && errno == EFAULT);
	CHECK(pread(fd, memory, 4 * PAGE, 0) == (ssize_t)(2 * PAGE));
	CHECK(mprotect(memory, PAGE, PROT_READ) == 0);
	errno = 0;
	CHECK(pread(fd, memory, PAGE, 0) == -1 && errno == EFAULT);
	CHECK(mprotect(memory, PAGE, PROT_NONE) == 0);
	errno = 0;
	CHECK(pwrite(fd, memory, PAGE, 0) == -1 && errno == EFAULT);
	close(fd);
}

/* Message, vector, control data and name all lie far. */
static void sockets(void)
{
	int ends[2];
	uint64_t name;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	uint8_t *block = far_block(16 * PAGE, &name), *to = map_anonymous(16 * PAGE);
	struct msghdr *message = map_anonymous(PAGE);
	struct iovec *part = map_anonymous(PAGE);
	struct cmsghdr *control = map_anonymous(PAGE);
	*part = (struct iovec){ block, 16 * PAGE };
	*message = (struct msghdr){ .msg_iov = part, .msg_iovlen = 1, .msg_control = control };
	message->msg_controllen = CMSG_SPACE(sizeof(int));
	*control = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
				     .cmsg_level = SOL_SOCKET,
				     .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(control), &ends[0], sizeof(int));
	push_out();
	CHECK(sendmsg(ends[0], message, 0) == (ssize_t)(16 * PAGE));
	*part = (struct iovec){ to, 16 * PAGE };
	message->msg_controllen = PAGE;
	push_out();
	ssize_t got = recvmsg(ends[1], message, 0); /* ends at the socket's inner boundaries */
	CHECK(got > 0);
	CHECK(recv(ends[1], to + got, 16 * PAGE - (size_t)got, MSG_WAITALL) ==
	      (ssize_t)(16 * PAGE) - got);
	words_check(to, 16 * PAGE, name, arguments.seed, "recvmsg");
	int fd;
	memcpy(&fd, CMSG_DATA(control), sizeof(int));
	CHECK(fcntl(fd, F_GETFD) >= 0);
	close(fd);
	push_out();
	CHECK(send(ends[0], to, PAGE, 0) == (ssize_t)PAGE && recv(ends[1], to, PAGE, 0) > 0);
	words_check(to, 16 * PAGE, name, arguments.seed, "recv");
	close(ends[0]);
	close(ends[1]);
}

/* The pipe holds the pages themselves; they must not change under it. */
static void spliced(void)
{
	int ends[2];
	uint64_t name;
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	uint8_t *block = far_block(16 * PAGE, &name), *to = map_anonymous(16 * PAGE);
	push_out();
	ssize_t given =
		vmsplice(ends[1], &(struct iovec){ block, 16 * PAGE }, 1, SPLICE_F_NONBLOCK);
	CHECK(given > 0);
	push_out();
	push_out();
	for (ssize_t done = 0; done < given;) {
		ssize_t got = read(ends[0], to + done, (size_t)(given - done));
		CHECK(got > 0);
		done += got;
	}
	words_check(to, (size_t)given, name, arguments.seed, "vmsplice");
	int fd = temporary_file(0);
	CHECK(write(fd, block, 8 * PAGE) == (ssize_t)(8 * PAGE));
	off_t *offset = map_anonymous(PAGE);
	push_out();
	CHECK(splice(fd, offset, ends[1], NULL, 8 * PAGE, 0) > 0 && *offset > 0);
	ssize_t got = vmsplice(ends[0], &(struct iovec){ to, (size_t)*offset }, 1, 0);
	CHECK(got > 0);
	words_check(to, (size_t)got, name, arguments.seed, "splice and vmsplice");
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

static int tcp_pair(int ends[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
	    listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
	    connect(ends[0], (struct sockaddr *)&address, length) != 0)
		return -1;
	ends[1] = accept(listener, NULL, NULL);
	close(listener);
	return ends[1] < 0 ? -1 : 0;
}

/* MSG_ZEROCOPY: the kernel reads the pages later. */
static void zerocopy(void)
{
	int ends[2], one = 1;
	uint64_t name;
	size_t bytes = 512 * PAGE;
	CHECK(tcp_pair(ends) == 0);
	if (setsockopt(ends[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) != 0)
		return;
	uint8_t *block = far_block(bytes, &name), *to = map_anonymous(bytes);
	push_out();
	ssize_t given = send(ends[0], block, bytes, MSG_ZEROCOPY | MSG_DONTWAIT);
	CHECK(given > 0 || errno == ENOBUFS);
	push_out();
	push_out();
	for (ssize_t done = 0; done < given;) {
		ssize_t got = recv(ends[1], to + done, (size_t)(given - done), 0);
		CHECK(got > 0);
		done += got;
	}
	if (given > 0)
		words_check(to, (size_t)given, name, arguments.seed, "MSG_ZEROCOPY");
	close(ends[0]);
	close(ends[1]);
}

/* Others read and write our far memory: the process itself by other doors, and its child. */
static void other_doors(void)
{
	uint64_t name;
	uint8_t *block = far_block(BLOCK, &name), *to = map_anonymous(BLOCK);
	struct iovec local = { to, BLOCK }, remote = { block, BLOCK };
	push_out();
	CHECK(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)BLOCK);
	words_check(to, BLOCK, name, arguments.seed, "process_vm_readv");
	memset(to, 0, BLOCK);
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	/*
	 * By this door the kernel waits for no page that a userfaultfd is to bring: EIO then, never
	 * other bytes than ours. Of a page that is here it gives and takes everything.
	 */
	push_out();
	ssize_t got = pread(fd, to, BLOCK, (off_t)(uintptr_t)block);
	CHECK(got > 0 || (got < 0 && errno == EIO));
	if (got > 0)
		words_check(to, (size_t)got, name, arguments.seed, "/proc/self/mem, far");
	words_check(block, BLOCK, name, arguments.seed, "brought back");
	CHECK(pread(fd, to, BLOCK, (off_t)(uintptr_t)block) == (ssize_t)BLOCK);
	words_check(to, BLOCK, name, arguments.seed, "/proc/self/mem");
	CHECK(pwrite(fd, to, BLOCK, (off_t)(uintptr_t)block) == (ssize_t)BLOCK);
	close(fd);
	words_check(block, BLOCK, name, arguments.seed, "written by /proc/self/mem");
	push_out();
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		memset(to, 0, BLOCK);
		if (process_vm_readv(parent, &local, 1, &remote, 1, 0) != (ssize_t)BLOCK)
			fail("process_vm_readv of the parent: %s", strerror(errno));
		words_check(to, BLOCK, name, arguments.seed, "read from the parent");
		_exit(0);
	}
	push_out();
	child_check(pid, "reader of its parent");
}

static void kernel_structs(void)
{
	struct utsname *names = map_anonymous(PAGE);
	struct timespec *now = map_anonymous(PAGE);
	struct rusage *usage = map_anonymous(PAGE);
	char *folder = map_anonymous(PAGE);
	char *target = map_anonymous(PAGE);
	char *path = map_anonymous(PAGE);
	push_out();
	strcpy(path, "/proc/self/exe");
	push_out();
	CHECK(uname(names) == 0 && strcmp(names->sysname, "Linux") == 0);
	CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, now) == 0);
	CHECK(getrusage(RUSAGE_SELF, usage) == 0 && usage->ru_maxrss > 0);
	CHECK(getcwd(folder, PAGE) == folder && folder[0] == '/');
	CHECK(readlink(path, target, PAGE) > 0 && target[0] == '/');
	size_t entries = 0;
	DIR *dir = opendir("/usr/bin");
	CHECK(dir != NULL);
	push_out();
	while (readdir(dir) != NULL)
		if (++entries % 100 == 0)
			push_out();
	CHECK(entries > 100 && closedir(dir) == 0);
}

static void waiting_arrays(void)
{
	int ends[2];
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	struct pollfd *polled = map_anonymous(PAGE);
	struct epoll_event *events = map_anonymous(PAGE);
	fd_set *set = map_anonymous(PAGE);
	struct timeval *limit = map_anonymous(PAGE);
	polled[0] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	FD_ZERO(set);
	FD_SET(ends[0], set);
	limit->tv_usec = 1000;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	events->events = EPOLLIN;
	events->data.u64 = 42;
	push_out();
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], events) == 0);
	push_out();
	CHECK(epoll_wait(epoll, events, 4, 1) == 0);
	CHECK(write(ends[1], "x", 1) == 1);
	push_out();
	CHECK(epoll_wait(epoll, events, 4, 1000) == 1 && events->data.u64 == 42);
	CHECK(poll(polled, 1, 1000) == 1 && polled->revents == POLLIN);
	CHECK(select(ends[0] + 1, set, NULL, NULL, limit) == 1 && FD_ISSET(ends[0], set));
	close(epoll);
	close(ends[0]);
	close(ends[1]);
}

struct meeting {
	pthread_mutex_t mutex;
	uint8_t gap1[PAGE];
	pthread_cond_t changed;
	uint8_t gap2[PAGE];
	sem_t semaphore;
	uint8_t gap3[PAGE];
	uint64_t turn;
};

static void *meeting_other(void *argument)
{
	struct meeting *meeting = argument;
	for (uint64_t round = 0; round < 20; round++) {
		CHECK(pthread_mutex_lock(&meeting->mutex) == 0);
		while (meeting->turn % 2 == 0)
			CHECK(pthread_cond_wait(&meeting->changed, &meeting->mutex) == 0);
		meeting->turn++;
		CHECK(pthread_cond_signal(&meeting->changed) == 0);
		CHECK(pthread_mutex_unlock(&meeting->mutex) == 0);
		CHECK(sem_post(&meeting->semaphore) == 0);
	}
	return NULL;
}

/* Waiters sleep on words that go far meanwhile. */
static void futexes(void)
{
	pthread_t thread;
	struct meeting *meeting = map_anonymous(sizeof(*meeting));
	CHECK(pthread_mutex_init(&meeting->mutex, NULL) == 0);
	CHECK(pthread_cond_init(&meeting->changed, NULL) == 0);
	CHECK(sem_init(&meeting->semaphore, 0, 0) == 0);
	CHECK(pthread_create(&thread, NULL, meeting_other, meeting) == 0);
	for (uint64_t round = 0; round < 20; round++) {
		push_out();
		CHECK(pthread_mutex_lock(&meeting->mutex) == 0);
		while (meeting->turn % 2 == 1)
			CHECK(pthread_cond_wait(&meeting->changed, &meeting->mutex) == 0);
		meeting->turn++;
		if (round % 4 == 0)
			push_out(); /* with the mutex held */
		CHECK(pthread_cond_signal(&meeting->changed) == 0);
		CHECK(pthread_mutex_unlock(&meeting->mutex) == 0);
		while (sem_wait(&meeting->semaphore) != 0)
			CHECK(errno == EINTR);
	}
	CHECK(pthread_join(thread, NULL) == 0 && meeting->turn == 40);
}

static volatile sig_atomic_t handled;

static void handler(int number, siginfo_t *info, void *context)
{
	volatile uint8_t room[8 * PAGE]; /* the stack below the frame is far too */
	for (size_t at = 0; at < sizeof(room); at += PAGE)
		room[at] = (uint8_t)number;
	handled += info->si_value.sival_int == 7 && room[PAGE] == number;
}

static void alternate_stack(void)
{
	size_t bytes = 64 * PAGE;
	stack_t stack = { .ss_sp = malloc(bytes), .ss_size = bytes },
		none = { .ss_flags = SS_DISABLE };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_ONSTACK | SA_SIGINFO };
	CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	for (int round = 0; round < 10; round++) {
		push_out();
		CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 7 }) == 0);
	}
	CHECK(handled == 10);
	CHECK(sigaltstack(&none, NULL) == 0);
	free(stack.ss_sp);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "files", files },
		{ "large_read", large_read },
		{ "absent", absent },
		{ "sockets", sockets },
		{ "other_doors", other_doors },
		{ "kernel_structs", kernel_structs },
		{ "waiting_arrays", waiting_arrays },
		{ "futexes", futexes },
		{ "alternate_stack", alternate_stack },
		{ "spliced", spliced },
		{ "zerocopy", zerocopy },
	};
	arguments = arguments_parse(argc, argv);
	ballast = ballast_make(arguments.bytes);
	for (size_t part = 0; part < sizeof(parts) / sizeof(*parts); part++)
		if (part_wanted(argc, argv, parts[part].name))
			parts[part].run();
	puts("ok");
	return 0;
}
