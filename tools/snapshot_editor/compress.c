/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compresses and decompresses memory files.
 *
 * Theory of operation. The file is cut into chunks of 1 MiB, and each becomes a frame, with the
 * checksum that zstd offers. A chunk without data is the same frame of zeroes each time, which is
 * made once. Behind the frames there is the list of extents, since a frame can't say which of its
 * zeroes were a hole; and at the end the seek table. Decompressing reads those two first and then
 * the frames that have data; what it does not write is a hole.
 *
 * A file with a seek table and without a list of extents is another program's. All of its frames
 * are read, and pages of zeroes become holes.
 */
#include "tools/snapshot_editor/compress.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "tools/lib/output.h"
#include "tools/lib/progress.h"
#include "tools/snapshot_editor/extents.h"
#include "tools/snapshot_editor/seek_table.h"
#include "vmm/base/bytes.h"
#include "vmm/base/fd.h"

enum {
	PAGE = 4096
};

/* One run of either; zeroed but for the descriptors it can be destroyed. */
struct job {
	int in;
	uint64_t in_len;
	struct output out;
	struct seek_table table;
	struct extents extents;
	bool has_extents; /* else: no list of them was in the file */
	uint8_t *plain;	  /* a chunk */
	uint8_t *packed;  /* a frame */
	size_t packed_cap;
	uint8_t *zeroes; /* the frame of a whole chunk of them */
	size_t zeroes_len;
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
};

static int job_begin(struct job *job, const char *from, const char *to, struct error *err)
{
	const char *const inputs[] = {from, NULL};

	*job = (struct job){.in = -1, .out.fd = -1};
	if (fd_open_file(from, "The file to read", &job->in, &job->in_len, err) < 0) {
		return -1;
	}
	job->packed_cap = ZSTD_compressBound(COMPRESS_CHUNK);
	job->plain = malloc(COMPRESS_CHUNK);
	job->packed = malloc(job->packed_cap);
	if (job->plain == NULL || job->packed == NULL) {
		return error_sys(err, "Cannot allocate buffers");
	}
	return output_open(&job->out, to, inputs, err);
}

static void job_end(struct job *job)
{
	output_discard(&job->out);
	seek_table_destroy(&job->table);
	extents_destroy(&job->extents);
	ZSTD_freeCCtx(job->cctx);
	ZSTD_freeDCtx(job->dctx);
	free(job->plain);
	free(job->packed);
	free(job->zeroes);
	fd_close(&job->in);
}

static int write_out(const struct job *job, const void *bytes, size_t len, uint64_t at,
		     struct error *err)
{
	return write_full(job->out.fd, bytes, len, at, err) == 0
		       ? 0
		       : error_wrap(err, "%s", job->out.path);
}

/* --- Compressing --- */

static int begin_compressing(struct job *job, int level, struct error *err)
{
	job->cctx = ZSTD_createCCtx();
	if (job->cctx == NULL ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(job->cctx, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(job->cctx, ZSTD_c_checksumFlag, 1))) {
		return error_set(err, ERR_HOST, "Cannot prepare zstd");
	}
	return extents_find(job->in, job->in_len, &job->extents, err);
}

/* Appends to the output, and an entry to the table. */
static int append(struct job *job, const uint8_t *frame, size_t len, uint32_t plain,
		  struct error *err)
{
	if (write_out(job, frame, len, job->table.packed, err) < 0) {
		return -1;
	}
	return seek_table_add(&job->table, (struct seek_entry){(uint32_t)len, plain}, err);
}

static int pack(struct job *job, size_t len, size_t *packed, struct error *err)
{
	*packed = ZSTD_compress2(job->cctx, job->packed, job->packed_cap, job->plain, len);
	return !ZSTD_isError(*packed)
		       ? 0
		       : error_set(err, ERR_HOST, "zstd failed: %s", ZSTD_getErrorName(*packed));
}

/* A chunk without data. The last one of a file may be shorter, and is no copy. */
static int append_zeroes(struct job *job, size_t len, struct error *err)
{
	size_t packed;

	if (len == COMPRESS_CHUNK && job->zeroes != NULL) {
		return append(job, job->zeroes, job->zeroes_len, (uint32_t)len, err);
	}
	memset(job->plain, 0, len);
	if (pack(job, len, &packed, err) < 0) {
		return -1;
	}
	if (len == COMPRESS_CHUNK) {
		job->zeroes = malloc(packed);
		if (job->zeroes == NULL) {
			return error_sys(err, "Cannot allocate a frame");
		}
		memcpy(job->zeroes, job->packed, packed);
		job->zeroes_len = packed;
	}
	return append(job, job->packed, packed, (uint32_t)len, err);
}

static int append_chunk(struct job *job, struct extent chunk, size_t *next, struct error *err)
{
	size_t len = (size_t)(chunk.end - chunk.start);
	struct extent part;
	size_t packed;

	if (!extents_next(&job->extents, next, chunk, &part)) {
		return append_zeroes(job, len, err);
	}
	/* What lies in holes reads as zeroes. */
	if (pread_full(job->in, job->plain, len, chunk.start, err) < 0 ||
	    pack(job, len, &packed, err) < 0) {
		return -1;
	}
	return append(job, job->packed, packed, (uint32_t)len, err);
}

static int append_chunks(struct job *job, struct error *err)
{
	struct progress progress;
	size_t next = 0;
	int result = 0;

	progress_begin(&progress, "compressing", job->in_len);
	for (uint64_t at = 0; at < job->in_len && result == 0; at += COMPRESS_CHUNK) {
		struct extent chunk = {at, min_u64(at + COMPRESS_CHUNK, job->in_len)};

		result = append_chunk(job, chunk, &next, err);
		progress_set(&progress, chunk.end);
	}
	progress_end(&progress);
	return result;
}

static int append_tables(struct job *job, struct error *err)
{
	AUTO_FREE uint8_t *extents = NULL;
	AUTO_FREE uint8_t *table = NULL;
	size_t len;

	if (extents_write(&job->extents, job->table.plain, &extents, &len, err) < 0 ||
	    append(job, extents, len, 0, err) < 0 ||
	    seek_table_write(&job->table, &table, &len, err) < 0) {
		return -1;
	}
	return write_out(job, table, len, job->table.packed, err);
}

int compress_file(const char *from, const char *to, int level, struct error *err)
{
	struct job job;
	int result = job_begin(&job, from, to, err);

	if (result == 0) {
		result = begin_compressing(&job, level, err);
	}
	if (result == 0) {
		result = append_chunks(&job, err);
	}
	if (result == 0) {
		result = append_tables(&job, err);
	}
	if (result == 0) {
		result = output_commit(&job.out, err);
	}
	job_end(&job);
	return result;
}

/* --- Decompressing --- */

static int read_table(struct job *job, struct error *err)
{
	uint8_t footer[SEEK_FOOTER_LEN];
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len;

	if (job->in_len < SEEK_HEAD_LEN + SEEK_FOOTER_LEN) {
		return error_set(err, ERR_CORRUPT, "It is too short for a compressed file");
	}
	if (pread_full(job->in, footer, sizeof(footer), job->in_len - sizeof(footer), err) < 0 ||
	    seek_footer_read(footer, job->in_len, &len, err) < 0) {
		return -1;
	}
	bytes = malloc(len);
	if (bytes == NULL) {
		return error_sys(err, "Cannot allocate the seek table");
	}
	return pread_full(job->in, bytes, len, job->in_len - len, err) < 0
		       ? -1
		       : seek_table_read(bytes, len, job->in_len, &job->table, err);
}

/* The list of extents is the last frame before the table, and has no bytes of the file. */
static int read_extents(struct job *job, struct error *err)
{
	const struct seek_table *table = &job->table;
	AUTO_FREE uint8_t *bytes = NULL;

	if (table->count == 0 || table->entries[table->count - 1].plain != 0) {
		return 0;
	}
	size_t len = table->entries[table->count - 1].packed;

	bytes = malloc(len + 1);
	if (bytes == NULL) {
		return error_sys(err, "Cannot allocate the list of holes");
	}
	if (pread_full(job->in, bytes, len, table->packed - len, err) < 0) {
		return -1;
	}
	int found = extents_read(bytes, len, table->plain, &job->extents, err);

	job->has_extents = found == 1;
	return found < 0 ? -1 : 0;
}

static int damaged(size_t index, uint64_t at, const char *why, struct error *err)
{
	return error_set(err, ERR_CORRUPT,
			 "Frame %zu, of what is at offset %llu of the memory, is damaged: %s",
			 index, (unsigned long long)at, why);
}

static int unpack(struct job *job, size_t index, uint64_t packed_at, uint64_t at, struct error *err)
{
	const struct seek_entry *entry = &job->table.entries[index];

	if (entry->plain > COMPRESS_CHUNK || entry->packed > job->packed_cap) {
		return error_set(err, ERR_NOT_SUPPORTED,
				 "Frame %zu is of more than the 1 MiB that is supported", index);
	}
	if (pread_full(job->in, job->packed, entry->packed, packed_at, err) < 0) {
		return -1;
	}
	size_t len = ZSTD_decompressDCtx(job->dctx, job->plain, COMPRESS_CHUNK, job->packed,
					 entry->packed);

	if (ZSTD_isError(len)) {
		return damaged(index, at, ZSTD_getErrorName(len), err);
	}
	return len == entry->plain ? 0 : damaged(index, at, "it has another length", err);
}

/* Writes what is not zero of a chunk at `at`, page by page. */
static int write_pages(const struct job *job, uint64_t at, size_t len, struct error *err)
{
	static const uint8_t zeroes[PAGE];

	for (size_t i = 0; i < len; i += PAGE) {
		size_t part = (size_t)min_u64(PAGE, len - i);

		if (memcmp(job->plain + i, zeroes, part) != 0 &&
		    write_out(job, job->plain + i, part, at + i, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int write_extents(const struct job *job, struct extent chunk, size_t *next,
			 struct error *err)
{
	struct extent left = chunk;
	struct extent part;

	while (left.start < left.end && extents_next(&job->extents, next, left, &part)) {
		if (write_out(job, job->plain + (part.start - chunk.start),
			      (size_t)(part.end - part.start), part.start, err) < 0) {
			return -1;
		}
		left.start = part.end;
	}
	return 0;
}

/* One frame, which may turn out to have nothing to write. */
static int restore(struct job *job, size_t index, struct extent chunk, uint64_t packed_at,
		   size_t *next, struct error *err)
{
	struct extent part;

	if (chunk.start == chunk.end ||
	    (job->has_extents && !extents_next(&job->extents, next, chunk, &part))) {
		return 0;
	}
	if (unpack(job, index, packed_at, chunk.start, err) < 0) {
		return -1;
	}
	return job->has_extents
		       ? write_extents(job, chunk, next, err)
		       : write_pages(job, chunk.start, (size_t)(chunk.end - chunk.start), err);
}

static int restore_all(struct job *job, struct error *err)
{
	struct progress progress;
	uint64_t packed_at = 0;
	uint64_t at = 0;
	size_t next = 0;
	int result = 0;

	progress_begin(&progress, "decompressing", job->table.plain);
	for (size_t i = 0; i < job->table.count && result == 0; i++) {
		const struct seek_entry *entry = &job->table.entries[i];
		struct extent chunk = {at, at + entry->plain};

		result = restore(job, i, chunk, packed_at, &next, err);
		packed_at += entry->packed;
		at = chunk.end;
		progress_set(&progress, at);
	}
	progress_end(&progress);
	return result;
}

static int decompress(struct job *job, struct error *err)
{
	job->dctx = ZSTD_createDCtx();
	if (job->dctx == NULL) {
		return error_set(err, ERR_HOST, "Cannot prepare zstd");
	}
	if (read_table(job, err) < 0 || read_extents(job, err) < 0) {
		return -1;
	}
	if (ftruncate(job->out.fd, (off_t)job->table.plain) < 0) {
		return error_sys(err, "Cannot give the output its length");
	}
	return restore_all(job, err) < 0 ? -1 : output_commit(&job->out, err);
}

int decompress_file(const char *from, const char *to, struct error *err)
{
	struct job job;
	int result = job_begin(&job, from, to, err);

	if (result == 0 && decompress(&job, err) < 0) {
		result = error_wrap(err, "Cannot decompress %s", from);
	}
	job_end(&job);
	return result;
}
