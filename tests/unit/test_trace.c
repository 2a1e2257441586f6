/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "format/lackey.h"
#include "format/trace.h"
#include "suite.h"

#define FILE_BYTES_MAX (1 << 20)

static uint8_t file[FILE_BYTES_MAX];
static size_t file_bytes;
static struct trace_writer writer;
static struct trace_reference references[TRACE_BLOCK_REFERENCES_MAX];

static void take_block(void)
{
	const void *block;
	size_t bytes = trace_writer_take(&writer, &block);

	ck_assert_uint_le(bytes, FILE_BYTES_MAX - file_bytes);
	if (bytes)
		memcpy(file + file_bytes, block, bytes);
	file_bytes += bytes;
}

static void begin(void)
{
	trace_writer_init(&writer);
	file_bytes = sizeof(struct trace_header);
}

static void add(uint64_t address, uint16_t bytes, uint8_t kind)
{
	struct trace_reference reference = { .address = address, .bytes = bytes, .kind = kind };

	if (trace_writer_add(&writer, reference))
		take_block();
}

static void finish(bool finished)
{
	struct trace_header header;

	take_block();
	header = trace_writer_header(&writer, finished);
	memcpy(file, &header, sizeof(header));
}

/* What the reader says of the file: 0 and how many references, or -EBADMSG and words. */
static int read_file(size_t bytes, uint64_t *ret_references, struct error *why)
{
	struct trace_reader reader;
	struct trace trace;
	uint32_t count;
	int ret = trace_open(file, bytes, &trace, why);

	if (ret < 0)
		return ret;
	trace_reader_init(&reader, &trace);
	do {
		ret = trace_reader_next(&reader, references, &count, why);
	} while (!ret && count);
	*ret_references = reader.references;
	return ret;
}

static void expect_damage(size_t bytes, const char *words)
{
	uint64_t count;
	struct error why = { "" };

	ck_assert_int_eq(read_file(bytes, &count, &why), -EBADMSG);
	ck_assert_msg(strstr(why.text, words), "no \"%s\" in \"%s\"", words, why.text);
	ck_assert_msg(strncmp(why.text, "at byte ", 8) == 0, "no offset in \"%s\"", why.text);
}

/* Version 1 as it is in files. This text never changes: a change is a new version. */
START_TEST(test_golden_bytes)
{
	static const char golden[] = "50647254010000000400000000000000"
				     "0100000000000000000000009396d57b"
				     "12000000040000000000000000000000"
				     "00000000d82ba10e"
				     "0c80a0808008"
				     "218ee0ffefff07"
				     "110f"
				     "3c0311";
	char text[2 * 128 + 1] = "";

	begin();
	add(0x40000800, 8, TRACE_LOAD);
	add(0x1ffefff807, 1, TRACE_STORE);
	add(0x400007f8, 16, TRACE_STORE);
	add(0x1ffefff7fe, 3, TRACE_LOAD);
	finish(true);
	for (size_t i = 0; i < file_bytes; i++)
		sprintf(text + 2 * i, "%02x", file[i]);
	ck_assert_str_eq(text, golden);
}
END_TEST

START_TEST(test_what_is_written_is_read)
{
	static const uint16_t sizes[] = { 1, 2, 3, 8, 16, 28, 64, 65, 512, 4096 };
	struct random_source random = random_from_seed(1), again = random;
	struct trace_reader reader;
	struct trace trace;
	struct error why;
	uint32_t count, seen = 0;

	begin();
	for (uint32_t i = 0; i < 20000; i++)
		add(random_next(&random) >> (17 + i % 40), sizes[i % ARRAY_COUNT(sizes)],
		    (uint8_t)(i % TRACE_KINDS));
	finish(true);
	ck_assert_int_eq(trace_open(file, file_bytes, &trace, &why), 0);
	ck_assert_uint_eq(trace.reference_count, 20000);
	trace_reader_init(&reader, &trace);
	do {
		ck_assert_int_eq(trace_reader_next(&reader, references, &count, &why), 0);
		for (uint32_t i = 0; i < count; i++, seen++) {
			ck_assert_uint_eq(references[i].address,
					  random_next(&again) >> (17 + seen % 40));
			ck_assert_uint_eq(references[i].bytes, sizes[seen % ARRAY_COUNT(sizes)]);
			ck_assert_uint_eq(references[i].kind, seen % TRACE_KINDS);
		}
	} while (count);
	ck_assert_uint_eq(seen, 20000);
}
END_TEST

static void make_three_blocks(void)
{
	begin();
	for (uint32_t i = 0; i < 2 * TRACE_BLOCK_REFERENCES_MAX + 10; i++)
		add(0x10000 + 8 * i, 8, TRACE_LOAD);
	finish(true);
}

START_TEST(test_every_cut_is_told)
{
	uint64_t count = 0;
	struct error why;

	make_three_blocks();
	ck_assert_int_eq(read_file(file_bytes, &count, &why), 0);
	ck_assert_uint_eq(count, 2 * TRACE_BLOCK_REFERENCES_MAX + 10);
	for (size_t bytes = 0; bytes < file_bytes; bytes += bytes < 200 ? 1 : 97)
		ck_assert_int_eq(read_file(bytes, &count, &why), -EBADMSG);
	expect_damage(10, "within its header");
	expect_damage(40, "within a block's header");
	expect_damage(file_bytes - 1, "1 bytes before the end of this block");
	expect_damage(sizeof(struct trace_header), "after 0 references of 8202");
}
END_TEST

START_TEST(test_every_changed_byte_is_told)
{
	uint64_t count;
	struct error why;

	make_three_blocks();
	for (size_t at = 0; at < file_bytes; at += at < 200 ? 1 : 97) {
		file[at] ^= 0x10;
		ck_assert_int_eq(read_file(file_bytes, &count, &why), -EBADMSG);
		file[at] ^= 0x10;
	}
	file[0] ^= 1;
	expect_damage(file_bytes, "this is no trace");
	file[0] ^= 1;
	file[4] = 9;
	expect_damage(file_bytes, "version 9");
	file[4] = 1;
	file[100] ^= 1;
	expect_damage(file_bytes, "the block's checksum");
}
END_TEST

START_TEST(test_missing_and_surplus_blocks_are_told)
{
	struct trace_block_header first;
	size_t bytes;

	make_three_blocks();
	memcpy(&first, file + sizeof(struct trace_header), sizeof(first));
	bytes = sizeof(first) + le32_get(first.payload_bytes);
	memcpy(file + file_bytes, file + sizeof(struct trace_header), bytes);
	expect_damage(file_bytes + bytes, "behind the last block");
	memmove(file + sizeof(struct trace_header), file + sizeof(struct trace_header) + bytes,
		file_bytes - bytes);
	expect_damage(file_bytes - bytes, "begins with reference 4096 where 0 is expected");
}
END_TEST

START_TEST(test_unfinished_is_told)
{
	begin();
	add(4096, 8, TRACE_LOAD);
	finish(false);
	expect_damage(file_bytes, "did not come to its end");
}
END_TEST

/* Payloads that no writer makes, with right checksums. */
START_TEST(test_wrong_payloads_are_told)
{
	static const struct {
		const char *payload;
		uint32_t bytes, count;
		const char *words;
	} rows[] = {
		{ "\x03\x00", 2, 1, "no known kind" },
		{ "\x1c\x00\x00", 3, 1, "impossible size" },
		{ "\x1c\x81\x20\x00", 4, 1, "impossible size" },
		{ "\x1c\x80", 2, 1, "size that does not end" },
		{ "\x00\x80", 2, 1, "address that does not end" },
		{ "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 1,
		  "address that does not end" },
		{ "\x00\x01", 2, 1, "outside of a program's" },
		{ "\x00\x00\x00", 3, 1, "more bytes" },
		{ "\x00\x00\x00", 3, 2, "address that does not end" },
		{ "\x1c\x03\x00", 3, 2, "fewer references" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		begin();
		add(0, 1, TRACE_LOAD);
		memcpy(writer.block + sizeof(struct trace_block_header), rows[i].payload,
		       rows[i].bytes);
		writer.payload_bytes = rows[i].bytes;
		writer.references = rows[i].count;
		finish(true);
		expect_damage(file_bytes, rows[i].words);
	}
}
END_TEST

START_TEST(test_lackey_lines)
{
	static const char *const words[] = { "",
					     "==1== x",
					     " L ",
					     " L 1ffe",
					     " L 1ffe,",
					     " L ,8",
					     " L 1ffe,8x",
					     " X 1ffe,8",
					     " L 1ffe,0",
					     " L 1ffe,4097",
					     " L 1000000000000,8",
					     " L g,8",
					     "I 1,3" };
	struct trace_reference reference;

	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		ck_assert_int_eq(lackey_read(words[i], strlen(words[i]), &reference), LACKEY_WORDS);
	ck_assert_int_eq(lackey_read("I  0401ab70,3", 13, &reference), LACKEY_INSTRUCTION);
	ck_assert_int_eq(lackey_read(" M 1fff00a718,16", 16, &reference), LACKEY_REFERENCE);
	ck_assert_uint_eq(reference.address, 0x1fff00a718);
	ck_assert_uint_eq(reference.bytes, 16);
	ck_assert_uint_eq(reference.kind, TRACE_MODIFY);
	ck_assert_int_eq(lackey_read(" S 10,8", 7, &reference), LACKEY_REFERENCE);
	ck_assert_uint_eq(reference.kind, TRACE_STORE);
	ck_assert_int_eq(lackey_read(" L 10,8", 7, &reference), LACKEY_REFERENCE);
	ck_assert_uint_eq(reference.kind, TRACE_LOAD);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trace");
	TCase *tcase = tcase_create("trace");

	tcase_add_test(tcase, test_golden_bytes);
	tcase_add_test(tcase, test_what_is_written_is_read);
	tcase_add_test(tcase, test_every_cut_is_told);
	tcase_add_test(tcase, test_every_changed_byte_is_told);
	tcase_add_test(tcase, test_missing_and_surplus_blocks_are_told);
	tcase_add_test(tcase, test_unfinished_is_told);
	tcase_add_test(tcase, test_wrong_payloads_are_told);
	tcase_add_test(tcase, test_lackey_lines);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
