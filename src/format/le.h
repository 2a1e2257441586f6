/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_LE_H
#define FORMAT_LE_H

/*
 * Integers as they leave the process: little-endian, without alignment, and of types that the
 * compiler refuses to calculate with.
 */

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t bytes[2];
} le16;

typedef struct {
	uint8_t bytes[4];
} le32;

typedef struct {
	uint8_t bytes[8];
} le64;

static inline uint16_t le16_get(le16 value)
{
	uint16_t raw;

	memcpy(&raw, value.bytes, sizeof(raw));
	return le16toh(raw);
}

static inline uint32_t le32_get(le32 value)
{
	uint32_t raw;

	memcpy(&raw, value.bytes, sizeof(raw));
	return le32toh(raw);
}

static inline uint64_t le64_get(le64 value)
{
	uint64_t raw;

	memcpy(&raw, value.bytes, sizeof(raw));
	return le64toh(raw);
}

static inline le16 le16_of(uint16_t value)
{
	le16 ret;

	value = htole16(value);
	memcpy(ret.bytes, &value, sizeof(value));
	return ret;
}

static inline le32 le32_of(uint32_t value)
{
	le32 ret;

	value = htole32(value);
	memcpy(ret.bytes, &value, sizeof(value));
	return ret;
}

static inline le64 le64_of(uint64_t value)
{
	le64 ret;

	value = htole64(value);
	memcpy(ret.bytes, &value, sizeof(value));
	return ret;
}

#endif
