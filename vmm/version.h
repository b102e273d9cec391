/* SPDX-License-Identifier: Apache-2.0 */
/* The version of squib, which is the level of Firecracker's API that it implements. */
#ifndef VMM_VERSION_H
#define VMM_VERSION_H

#define SQUIB_VERSION "1.17.0"

#endif
