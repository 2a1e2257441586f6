/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_RUN_SEGMENT_H
#define FORMAT_RUN_SEGMENT_H

/*
 * The run segment: one memfd per `perdure run`, made by the launcher and mapped by every process
 * of the run, in which each process (a member) keeps its counters. The launcher only reads them,
 * for `--report` and for `perdure status`, so a process that is killed loses none.
 *
 * It is shared by processes of one build on one host; `version` changes with the layout, and a
 * reader that does not know it says so. Counters have one writer process (several threads, relaxed
 * atomics) and any number of readers.
 *
 * How a process joins: the environment has PERDURE_SOCKET, the name of an abstract Unix stream
 * socket (without the leading NUL) on which the launcher listens, "perdure/run/PID". The process
 * connects and sends one byte RUN_HELLO_MEMBER; the launcher answers with one struct run_welcome
 * and the memfd as SCM_RIGHTS. The connection stays open as long as the process image lives: its
 * end tells the launcher that the member is gone (exit, kill or exec). A reader (`perdure status`)
 * sends RUN_HELLO_READER instead and gets the same answer with member_index UINT32_MAX.
 * The launcher answers peers of its own user and of root only (SO_PEERCRED), and whoever sends a
 * struct run_hello with the segment's nonce: a member's forked child, which may be another user's
 * by then.
 */

#include <stdatomic.h>
#include <stdint.h>

#define RUN_SEGMENT_MAGIC 0x6e75725f64726570ull /* "perd_run" read as little-endian bytes */
#define RUN_SEGMENT_VERSION 4
#define RUN_MEMBERS_MAX 256 /* live processes of one run; one beyond it is refused in words */
#define RUN_BACKINGS_MAX 8  /* --far options of one run */
#define RUN_URI_BYTES 256
#define RUN_COMMAND_BYTES 128

#define RUN_HELLO_MEMBER 'm'
#define RUN_HELLO_READER 'r'
#define RUN_HELLO_CHILD 'c'

/*
 * Sent to every member that is left when the run ends in good order, before the connection is
 * closed. An end without it means that the launcher was killed: the member is to end as well, so
 * that nothing of the run is left behind.
 */
#define RUN_GOODBYE 'x'

#define RUN_NONCE_BYTES 16

struct run_hello {
	char verb; /* RUN_HELLO_CHILD */
	uint8_t nonce[RUN_NONCE_BYTES];
};

struct run_welcome {
	uint32_t version;
	uint32_t member_index; /* the member's own; UINT32_MAX for a reader or when all are taken */
};

/*
 * Fault times: RUN_HISTOGRAM_STEPS buckets to each power of two of nanoseconds, from
 * 2^RUN_HISTOGRAM_FIRST ns; run_histogram_*() in base/ do the arithmetic.
 */
#define RUN_HISTOGRAM_FIRST 7 /* 128 ns */
#define RUN_HISTOGRAM_STEPS 16
#define RUN_HISTOGRAM_BUCKETS (28 * RUN_HISTOGRAM_STEPS) /* up to 34 s */

struct run_backing_counters {
	_Atomic uint64_t pages;	     /* pages whose copy lives there now */
	_Atomic uint64_t bytes_held; /* bytes that they take there */
	_Atomic uint64_t pages_fetched;
	_Atomic uint64_t pages_stored;
	_Atomic uint64_t errors;
	_Atomic uint64_t lost; /* times that the backing was given up as gone */
};

/* Pages fetched ahead of need. What was used or not is known only when the program goes on. */
struct run_prefetch_counters {
	_Atomic uint64_t issued; /* fetches begun */
	_Atomic uint64_t used;	 /* the program came to the end of what they were part of */
	_Atomic uint64_t late;	 /* not there when the timer ended */
	_Atomic uint64_t wasted; /* the program went elsewhere */
};

#define RUN_PREFETCH_SOURCES 3 /* line, stream, stride: enum prefetch_source in policy/ */

struct run_counters {
	_Atomic uint64_t faults;	/* faults served */
	_Atomic uint64_t pages_fetched; /* pages that came from a backing */
	_Atomic uint64_t pages_zeroed;	/* first touches: a zero page, no fetch */
	_Atomic uint64_t pages_evicted; /* pages taken out of the region */
	_Atomic uint64_t pages_written; /* evicted pages that had to be stored (each once) */
	_Atomic uint64_t pages_by_line; /* of them, those of which only changed lines were stored */
	_Atomic uint64_t lines_written; /* of those (each once) */
	_Atomic uint64_t bytes_written; /* bytes stored to backings, all copies */
	_Atomic uint64_t second_chances; /* evicted pages touched before their frame was reused */
	_Atomic uint64_t fetch_timeouts;
	_Atomic uint64_t fetch_retries;	 /* fetches that another copy or another try answered */
	_Atomic uint64_t pages_recopied; /* copies made again after a backing was lost */
	_Atomic uint64_t pages_lost;	 /* pages with no good copy left: SIGBUS at their touch */
	_Atomic uint64_t pinned_skipped; /* evictions refused as the kernel had the page pinned */
	_Atomic uint64_t local_bytes;	 /* region bytes resident now, with frames in passage */
	_Atomic uint64_t local_bytes_max;
	_Atomic uint64_t region_bytes; /* bytes of the region that the program has mapped now */
	_Atomic uint64_t region_bytes_max;
	_Atomic uint64_t metadata_bytes; /* what Perdure itself keeps about the region */
	struct run_prefetch_counters prefetch[RUN_PREFETCH_SOURCES];
	_Atomic uint64_t fault_ns[RUN_HISTOGRAM_BUCKETS];
	struct run_backing_counters backings[RUN_BACKINGS_MAX];
};

enum run_member_state { RUN_MEMBER_FREE, RUN_MEMBER_LIVE, RUN_MEMBER_ENDED };

struct run_member {
	_Atomic uint32_t state; /* enum run_member_state; written by the launcher alone */
	_Atomic int32_t pid;
	_Atomic uint64_t region_start; /* addresses in that process, for who watches from outside */
	_Atomic uint64_t region_end; /* the reserved range; resident pages in it are local_bytes */
	_Atomic uint64_t pool_start; /* the frames in passage */
	_Atomic uint64_t pool_end;
	char command[RUN_COMMAND_BYTES];
	struct run_counters counters;
};

struct run_segment {
	uint64_t magic;
	uint32_t version;
	uint32_t backing_count;
	int32_t launcher_pid;
	uint32_t mirror;		/* copies of each page */
	uint8_t nonce[RUN_NONCE_BYTES]; /* who has it has the segment */
	uint64_t local_bytes_limit;
	uint64_t started_unix_ms;
	char command[RUN_COMMAND_BYTES];
	char backing_uri[RUN_BACKINGS_MAX][RUN_URI_BYTES];
	struct run_counters ended; /* the sums of members that are gone; launcher alone */
	struct run_member members[RUN_MEMBERS_MAX];
};

#endif
