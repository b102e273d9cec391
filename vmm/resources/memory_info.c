/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /memory, /memory/mappings, /memory/dirty: for clients that read guest memory by themselves, as
 * those of patched Firecrackers do [compat]. Bitmaps are arrays of u64: bit i of word n is page 64
 * n
 * + i of the memory file, of the page size that /memory/mappings tells.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/bytes.h"
#include "vmm/base/gmem_pager.h"
#include "vmm/base/gmem_pages.h"
#include "vmm/persist/memory_file.h"
#include "vmm/persist/snapshot.h"
#include "vmm/resources/resource.h"

/* --- Bitmaps --- */

static const struct machine *machine_of(const struct microvm *microvm)
{
	return &microvm->controller.machine;
}

/* What is true of a page of the backing, all pages of 4 KiB in it together. */
typedef bool (*page_fn)(const struct gmem *mem, size_t region, const uint64_t *bits, uint64_t first,
			uint64_t end);

static bool has_any(const struct gmem *mem, size_t region, const uint64_t *bits, uint64_t first,
		    uint64_t end)
{
	(void)mem;
	(void)region;
	return page_bit(bits, first) || page_run_end(bits, first, end) < end;
}

static bool is_empty(const struct gmem *mem, size_t region, const uint64_t *bits, uint64_t first,
		     uint64_t end)
{
	bool is_zero = has_any(mem, region, bits, first, end);

	for (uint64_t page = first; page < end && is_zero; page++) {
		is_zero = gmem_is_zero(mem, region, page);
	}
	return is_zero;
}

/* Prints `"name":[words]`, over all regions behind each other. */
static void print_bitmap(FILE *out, const char *name, const struct gmem *mem,
			 const struct page_sets *sets, page_fn fn)
{
	unsigned long long word = 0;
	unsigned bit = 0;
	const char *separator = "";

	fprintf(out, "\"%s\":[", name);
	for (size_t i = 0; i < gmem_region_count(mem); i++) {
		struct gmem_slot slot = gmem_slot(mem, i);
		uint64_t step = slot.page_len / GMEM_DIRTY_PAGE;

		for (uint64_t page = 0; page < slot.len / GMEM_DIRTY_PAGE; page += step) {
			word |= (unsigned long long)fn(mem, i, sets->bits[i], page, page + step)
				<< bit;
			if (++bit == GMEM_WORD_PAGES) {
				fprintf(out, "%s%llu", separator, word);
				separator = ",";
				word = 0;
				bit = 0;
			}
		}
	}
	if (bit > 0) {
		fprintf(out, "%s%llu", separator, word);
	}
	fputs("]", out);
}

/* The answer is what `print` prints. As text, since numbers from 2^63 on are none of jansson's. */
static int reply(struct request *request, const struct gmem *mem, const struct page_sets *sets,
		 void (*print)(FILE *, const struct gmem *, const struct page_sets *),
		 struct error *err)
{
	FILE *out = open_memstream(&request->text, &request->text_len);

	if (out == NULL) {
		return error_sys(err, "Out of memory for the answer");
	}
	print(out, mem, sets);
	return fclose(out) == 0 ? 0 : error_sys(err, "Out of memory for the answer");
}

static int check_paused(const struct microvm *microvm, struct error *err)
{
	if (microvm->controller.state != VM_PAUSED) {
		return error_set(err, ERR_BAD_STATE,
				 "The requested operation is not supported while the microVM is "
				 "running.");
	}
	return 0;
}

/* --- What is there --- */

/* Of memory on a file its data count too: nobody else would bring them to the client. */
static void add_file(const struct gmem_slot *slot, uint64_t *bits)
{
	for (uint64_t at = 0; slot->fd >= 0 && at < slot->len;) {
		uint64_t end = slot->offset + slot->len;
		uint64_t data = memory_file_seek(slot->fd, slot->offset + at, end, SEEK_DATA);
		uint64_t hole = memory_file_seek(slot->fd, data, end, SEEK_HOLE);

		page_run_add(bits, (data - slot->offset) / GMEM_DIRTY_PAGE,
			     align_up(hole - slot->offset, GMEM_DIRTY_PAGE) / GMEM_DIRTY_PAGE);
		at = hole - slot->offset;
	}
}

static void print_memory(FILE *out, const struct gmem *mem, const struct page_sets *sets)
{
	fputs("{", out);
	print_bitmap(out, "resident", mem, sets, has_any);
	fputs(",", out);
	print_bitmap(out, "empty", mem, sets, is_empty);
	fputs("}", out);
}

static int get_memory(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct gmem *mem = machine_of(microvm)->mem;
	struct page_sets sets = {0};

	if (check_paused(microvm, err) < 0 || page_sets_init(&sets, mem, err) < 0) {
		return -1;
	}
	int result = 0;

	for (size_t i = 0; i < gmem_region_count(mem) && result == 0; i++) {
		struct gmem_slot slot = gmem_slot(mem, i);

		result = gmem_own_pages(mem, i, sets.bits[i], err);
		add_file(&slot, sets.bits[i]);
	}
	if (result == 0) {
		result = reply(request, mem, &sets, print_memory, err);
	}
	page_sets_destroy(&sets);
	return result;
}

const struct resource memory_info_resource = {
	.path = {"memory"},
	.methods[HTTP_GET] = {.states = AFTER_START, .run = get_memory},
};

/* --- What changed --- */

static void print_dirty(FILE *out, const struct gmem *mem, const struct page_sets *sets)
{
	fputs("{", out);
	print_bitmap(out, "bitmap", mem, sets, has_any);
	fputs("}", out);
}

static int get_dirty(struct microvm *microvm, struct request *request, struct error *err)
{
	const struct machine *machine = machine_of(microvm);
	struct page_sets sets = {0};

	if (check_paused(microvm, err) < 0 || devmgr_check_saved(&machine->devmgr, err) < 0 ||
	    page_sets_init(&sets, machine->mem, err) < 0) {
		return -1;
	}
	int result = snapshot_find_changed(machine, &sets, err);

	if (result == 0) {
		result = reply(request, machine->mem, &sets, print_dirty, err);
	}
	page_sets_destroy(&sets);
	return result;
}

const struct resource memory_dirty_resource = {
	.path = {"memory", "dirty"},
	.methods[HTTP_GET] = {.states = AFTER_START, .run = get_dirty},
};

/* --- Where it is --- */

static void print_mappings(FILE *out, const struct gmem *mem, const struct page_sets *sets)
{
	char buf[GMEM_DESCRIBE_MAX];
	struct text text;

	(void)sets;
	text_init(&text, buf, sizeof(buf));
	gmem_describe(mem, &text);
	fprintf(out, "{\"mappings\":%s}", buf);
}

static int get_mappings(struct microvm *microvm, struct request *request, struct error *err)
{
	return reply(request, machine_of(microvm)->mem, NULL, print_mappings, err);
}

const struct resource memory_mappings_resource = {
	.path = {"memory", "mappings"},
	.methods[HTTP_GET] = {.states = AFTER_START, .run = get_mappings},
};
