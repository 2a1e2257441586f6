/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

/*
 * What the modelled machine is like. All of it can be given on the command line of `perdure model`
 * but the constants, which perdure-model(1) lists.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define MODEL_CORES_MAX 8	     /* a bit each in a line's directory entry */
#define MODEL_LOCAL_PAGES_MIN 128    /* twice the fetches that may be under way */
#define MODEL_FETCHES_MAX 64	     /* eight lines of the page table */
#define MODEL_NEXT_MAX 32	     /* half of these */
#define MODEL_CACHE_BYTES_MAX GIB    /* more than any processor's */
#define MODEL_PAGES_MAX (1ull << 22) /* 16 GiB of address space, in pieces of 2 MiB */
#define MODEL_TIME_NS_MAX 1000000000ull

#define MODEL_PRIVATE_WAYS 8
#define MODEL_SHARED_WAYS 16
#define MODEL_TLB_WAYS 8
#define MODEL_BITMAP_WAYS 8
#define MODEL_WALK_ENTRIES 32 /* upper levels of the page tables, kept by each walker */
#define MODEL_WALK_WAYS 4

/* Times of a machine of about 2020, in nanoseconds of the modelled clock. */
#define MODEL_REFERENCE_NS 1 /* the instructions that stand behind a reference */
#define MODEL_SHARED_NS 12   /* a private miss that the shared cache answers */
#define MODEL_BUS_NS 80	     /* a transaction to the device and back */
#define MODEL_MEMORY_NS 70   /* a line from the device's or the processor's memory */
#define MODEL_FAULT_NS 1000  /* into the operating system and back */

enum model_policy {
	MODEL_NONE, /* nothing is fetched but what is asked for */
	MODEL_LINE, /* M1: what the lines of the page table point at */
	MODEL_NEXT, /* a control: the next frames by address behind a page asked for */
};

enum model_frames { MODEL_FRAMES_SCATTERED, MODEL_FRAMES_ORDERED };
enum model_tables { MODEL_TABLES_IN_DEVICE, MODEL_TABLES_IN_PROCESSOR };
enum model_grant { MODEL_GRANT_SHARED, MODEL_GRANT_EXCLUSIVE };

struct model_config {
	uint32_t core_count;
	uint32_t slice_references; /* after so many, the program goes on on the next core */
	uint64_t private_bytes;	   /* each core's cache */
	uint64_t shared_bytes;
	uint32_t tlb_entries;
	uint64_t local_bytes;	/* of data pages, in the device's memory */
	uint32_t local_percent; /* of the pages that the trace touches, when local_bytes is 0 */
	uint64_t bitmap_bytes;	/* the cache for the bitmap of modified lines */
	uint64_t link_latency_ns;
	uint64_t link_bytes_per_s;
	uint64_t timer_ns; /* 0: off */
	uint64_t bus_timeout_ns;
	uint64_t scan_ns; /* from one scan for modified lines to the next; 0: none */
	enum model_policy policy;
	uint32_t next_pages; /* of MODEL_NEXT */
	enum model_frames frames;
	enum model_tables tables; /* where the page tables are: in the processor's as a control */
	/*
	 * What a lone reader of unmodified data is granted. Exclusive, as a control: its first
	 * store is then silent, and the device learns of it only when the line is written back.
	 */
	enum model_grant grant;
	uint64_t seed; /* of the order of the frames */
};

struct model_config model_config_default(void);

/* -EINVAL with one line when it is no machine; a timer not below the bus timeout is none. */
int model_config_check(const struct model_config *config, struct error *why);

/* Pages of local memory for a trace that touches so many. */
uint64_t model_config_local_pages(const struct model_config *config, uint64_t touched_pages);

#endif
