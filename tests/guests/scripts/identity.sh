#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A machine that is saved at its meeting and loaded more than once: what tells it that it is another
# one, and what it then says. "identity.sh PAGE RTC": the addresses of the VMClock page and of a PL031
# or 0.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh
page=$1
rtc=$2

# field OFFSET WIDTH: of the page, in decimal.
field() { echo $(($(devmem $((page + $1)) "$2"))); }
# interrupts PART_OF_A_NAME: how many came.
interrupts() { awk -v name="$1" '$0 ~ name { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

[ "$(field 0 32)" = $((0x4b4c4356)) ] || wrong "the page begins with $(field 0 32)"
[ "$(field 104 64)" = 0 ] || wrong "a machine that booted has generation $(field 104 64)"
# The random generator is ready, and would go on alike in each clone.
must dd if=/dev/urandom of=/dev/null bs=16 count=1 2>/dev/null
# The kernel's own words: whether stolen time is accounted. The rest of its boot is not asked for.
dmesg | grep -q 'using stolen time PV' && echo "stolen time: yes"
dmesg -c >/dev/null
before=$(interrupts 'ACPI:Ged|vmgenid')

# A CPU that is busy at the save: of one that idles the kernel expects no sign of life.
while :; do :; done &
busy=$!

meet "to be saved"

echo "random: $(dd if=/dev/urandom bs=16 count=1 2>/dev/null | od -An -tx1 | tr -d ' ')"
echo "clock: $(date +%s)"
# The PL031's first register is the time.
[ "$rtc" = 0 ] || echo "rtc: $(($(devmem "$rtc" 32)))"
echo "generation: $(field 104 64)"
echo "disruptions: $(field 16 64)"
echo "sequence: $(field 12 32)"
echo "interrupts: $(($(interrupts 'ACPI:Ged|vmgenid') - before))"
# Time for the watchdogs of kernel and clock to bark.
sleep 5
kill $busy
if dmesg | grep -iE 'soft lockup|rcu.*stall|skew|unstable|hung|WARNING:'; then
	wrong "the kernel complains of the pause"
fi
echo "identity: done"
