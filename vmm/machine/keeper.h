/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for the release of a file that takes long. */
#ifndef VMM_KEEPER_H
#define VMM_KEEPER_H

/*
 * Returns a descriptor, closed on exec, that keeps the file of `fd` as well. Whoever closes it
 * after all others of the file does not wait for the release: a thread of the kernel does, and what
 * the file holds is held for a while after. -1: this kernel has no way to do that.
 */
int keeper_open(int fd);

#endif
