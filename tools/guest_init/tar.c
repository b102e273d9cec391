/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of tar archives. */
#include "tools/guest_init/tar.h"

#include <stdio.h>
#include <string.h>

enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_SUM = 148,
	AT_KIND = 156,
	AT_LINK = 157,
	AT_MAGIC = 257,
	AT_PREFIX = 345,
	NAME_LEN = 100,
	PREFIX_LEN = 155,
	SHORT_LEN = 8,
	LONG_LEN = 12,
	SUM_LEN = 8,
	BINARY = 0x80, /* of a number's first byte: the others are a big-endian number */
};

/* --- numbers --- */

/* In octal if there is room for that, else in GNU's binary form. */
static void put_number(uint8_t *to, size_t len, uint64_t number)
{
	bool fits = number >> (3 * (len - 1)) == 0;

	for (size_t i = len - (fits ? 1 : 0); i > 0; i--) {
		to[i - 1] = fits ? (uint8_t)('0' + number % 8) : (uint8_t)number;
		number >>= fits ? 3 : 8;
	}
	if (!fits) {
		to[0] |= BINARY;
	}
}

static bool get_binary(const uint8_t *from, size_t len, uint64_t *number)
{
	uint64_t value = from[0] & (BINARY - 1);

	for (size_t i = 1; i < len; i++) {
		if (value >> 56 != 0) {
			return false;
		}
		value = value << 8 | from[i];
	}
	*number = value;
	return true;
}

static bool get_number(const uint8_t *from, size_t len, uint64_t *number)
{
	uint64_t value = 0;
	size_t i = 0;

	if ((from[0] & BINARY) != 0) {
		return get_binary(from, len, number);
	}
	while (i < len && from[i] == ' ') {
		i++;
	}
	/* At most 12 digits. */
	for (; i < len && from[i] >= '0' && from[i] <= '7'; i++) {
		value = value << 3 | (uint64_t)(from[i] - '0');
	}
	*number = value;
	return i == len || from[i] == ' ' || from[i] == '\0';
}

static uint32_t sum_of(const uint8_t block[TAR_BLOCK])
{
	uint32_t sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++) {
		sum += i >= AT_SUM && i < AT_SUM + SUM_LEN ? ' ' : block[i];
	}
	return sum;
}

/* --- heads --- */

bool tar_is_long(const char *name)
{
	return strlen(name) > NAME_LEN;
}

static void put_name(uint8_t *to, const char *name)
{
	memcpy(to, name, strnlen(name, NAME_LEN));
}

void tar_head_write(const struct tar_head *head, uint8_t block[TAR_BLOCK])
{
	memset(block, 0, TAR_BLOCK);
	put_name(block + AT_NAME, head->name);
	put_name(block + AT_LINK, head->link);
	put_number(block + AT_MODE, SHORT_LEN, head->mode);
	put_number(block + AT_UID, SHORT_LEN, head->uid);
	put_number(block + AT_GID, SHORT_LEN, head->gid);
	put_number(block + AT_SIZE, LONG_LEN, head->size);
	put_number(block + AT_MTIME, LONG_LEN, head->mtime);
	block[AT_KIND] = head->kind;
	memcpy(block + AT_MAGIC,
	       "ustar\0"
	       "00",
	       8);
	put_number(block + AT_SUM, SUM_LEN - 1, sum_of(block));
	block[AT_SUM + SUM_LEN - 1] = ' ';
}

static void get_name(const uint8_t *from, size_t len, char *to)
{
	memcpy(to, from, len);
	to[len] = '\0';
}

bool tar_head_read(const uint8_t block[TAR_BLOCK], struct tar_head *head)
{
	char prefix[PREFIX_LEN + 1];
	char name[NAME_LEN + 1];
	uint64_t sum;
	uint64_t mode;
	uint64_t uid;
	uint64_t gid;

	if (!get_number(block + AT_SUM, SUM_LEN, &sum) || sum != sum_of(block) ||
	    !get_number(block + AT_MODE, SHORT_LEN, &mode) ||
	    !get_number(block + AT_UID, SHORT_LEN, &uid) ||
	    !get_number(block + AT_GID, SHORT_LEN, &gid) ||
	    !get_number(block + AT_SIZE, LONG_LEN, &head->size) ||
	    !get_number(block + AT_MTIME, LONG_LEN, &head->mtime)) {
		return false;
	}
	head->mode = (uint32_t)mode;
	head->uid = (uint32_t)uid;
	head->gid = (uint32_t)gid;
	head->kind = block[AT_KIND] == '\0' ? TAR_FILE : block[AT_KIND];
	get_name(block + AT_NAME, NAME_LEN, name);
	get_name(block + AT_LINK, NAME_LEN, head->link);
	get_name(block + AT_PREFIX, PREFIX_LEN, prefix);
	/* GNU's heads have other things at the prefix's place. */
	bool has_prefix = memcmp(block + AT_MAGIC, "ustar", 6) == 0 && prefix[0] != '\0';

	snprintf(head->name, sizeof(head->name), "%s%s%s", has_prefix ? prefix : "",
		 has_prefix ? "/" : "", name);
	return true;
}

/* --- pax --- */

static bool take_text(const char *text, size_t len, char to[TAR_PATH_MAX])
{
	if (len >= TAR_PATH_MAX) {
		return false;
	}
	memcpy(to, text, len);
	to[len] = '\0';
	return true;
}

static bool take_size(const char *text, size_t len, uint64_t *size)
{
	*size = 0;
	/*@ loop invariant i <= len;
	  @ loop assigns i, *size;
	  @*/
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || *size > UINT64_MAX / 100) {
			return false;
		}
		*size = *size * 10 + (uint64_t)(text[i] - '0');
	}
	return true;
}

static bool take_member(const char *text, size_t len, struct tar_head *head)
{
	static const char path[] = "path=";
	static const char link[] = "linkpath=";
	static const char size[] = "size=";

	if (len >= sizeof(path) - 1 && memcmp(text, path, sizeof(path) - 1) == 0) {
		return take_text(text + sizeof(path) - 1, len - (sizeof(path) - 1), head->name);
	}
	if (len >= sizeof(link) - 1 && memcmp(text, link, sizeof(link) - 1) == 0) {
		return take_text(text + sizeof(link) - 1, len - (sizeof(link) - 1), head->link);
	}
	if (len >= sizeof(size) - 1 && memcmp(text, size, sizeof(size) - 1) == 0) {
		return take_size(text + sizeof(size) - 1, len - (sizeof(size) - 1), &head->size);
	}
	return true;
}

/* Members are "LENGTH NAME=VALUE\n", the length that of all of this. */
bool tar_pax_read(const char *text, size_t len, struct tar_head *head)
{
	/*@ loop invariant len <= \at(len, Pre) &&
	  @	(len == 0 || \valid_read(text + (0 .. len - 1)));
	  @ loop invariant \separated(head, text + (0 .. len - 1));
	  @ loop assigns text, len, *head;
	  @*/
	while (len > 0) {
		uint64_t whole;
		const char *space = memchr(text, ' ', len);
		size_t digits = space != NULL ? (size_t)(space - text) : 0;

		if (digits == 0 || !take_size(text, digits, &whole) || whole > len ||
		    whole < digits + 2 || text[whole - 1] != '\n' ||
		    !take_member(space + 1, whole - digits - 2, head)) {
			return false;
		}
		text += whole;
		len -= whole;
	}
	return true;
}
