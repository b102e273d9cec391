/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: each vCPU that the firmware tables tell of can be started, as Linux does it.
 * Output: "cpus: <n> of <n> run"; exit status 0.
 */
#include "tests/guests/payload/guest.h"

enum {
	/* Seconds on an interpreting KVM, less elsewhere: a vCPU thread may have to wait. */
	PATIENCE = 20000000
};

void guest_main(void)
{
	unsigned expected = cpus_start();

	for (unsigned i = 0; i < PATIENCE && cpus_running() < expected; i++) {
	}
	print("cpus: ");
	print_number(cpus_running());
	print(" of ");
	print_number(expected);
	print(" run\n");
}
