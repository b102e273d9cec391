/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a vCPU as a debugger knows them: the tables of an architecture. */
#ifndef ARCH_DEBUG_REG_H
#define ARCH_DEBUG_REG_H

#include <stddef.h>
#include <stdint.h>

/* A field of flags: bits `first` to `last`; of a union: a view of another type. */
struct debug_field {
	const char *name;
	const char *type; /* NULL: of flags */
	unsigned first;
	unsigned last;
};

/* How gdb shows a register [gdb manual, G.3]: a vector, or fields. */
struct debug_type {
	const char *id;
	const char *item; /* a vector of `count` of these; NULL: fields */
	unsigned count;
	const struct debug_field *fields; /* one without a name ends them */
	unsigned flags_len;		  /* bytes of flags; 0: a union */
};

/* Rows of such tables. */
#define DEBUG_BIT(name, bit)                                                                       \
	{                                                                                          \
		name, NULL, bit, bit                                                               \
	}
#define DEBUG_BITS(name, first, last)                                                              \
	{                                                                                          \
		name, NULL, first, last                                                            \
	}
#define DEBUG_VIEW(name, type)                                                                     \
	{                                                                                          \
		name, type, 0, 0                                                                   \
	}
#define DEBUG_VECTOR(id, item, count)                                                              \
	{                                                                                          \
		id, item, count, NULL, 0                                                           \
	}
#define DEBUG_UNION(id, fields)                                                                    \
	{                                                                                          \
		id, NULL, 0, fields, 0                                                             \
	}
#define DEBUG_FLAGS(id, fields)                                                                    \
	{                                                                                          \
		id, NULL, 0, fields, 4                                                             \
	}

/* A group of registers that gdb knows by a name [gdb manual, G.5]. */
struct debug_feature {
	const char *name;
	const struct debug_type *types; /* of its registers, each behind those that it uses; one
					   without an id ends them; NULL: none */
};

/* A register, by the name and in the order that gdb knows. */
struct debug_reg {
	const char *name;
	const char *type;		     /* gdb's, or of the feature; NULL: an integer */
	const struct debug_feature *feature; /* that begins here; NULL: as the one before */
	unsigned bits;			     /* a multiple of 8 */
	uint64_t source;		     /* where the architecture finds it */
};

extern const char debug_architecture[]; /* gdb's name of it */
extern const struct debug_reg debug_regs[];
extern const size_t debug_reg_count;

#endif
