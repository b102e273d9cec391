/* SPDX-License-Identifier: Apache-2.0 */
/* Short names for the compiler attributes that the house style asks for. */
#ifndef VMM_BASE_ATTR_H
#define VMM_BASE_ATTR_H

#define COLD __attribute__((cold))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NOINLINE __attribute__((noinline))
#define NORETURN __attribute__((noreturn))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNINITIALIZED __attribute__((uninitialized)) /* a local one that need not be cleared */

#endif
