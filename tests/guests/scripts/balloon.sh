#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The balloon of a guest with 256 MiB; the host looks at the monitor's memory at each meeting. vdb
# is 96 MiB of holes, to fill the page cache with. "balloon.sh hinting": two runs of hinting.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

# What is in use keeps its contents; what was given back is used again.
hinting() {
	must gt pattern write /tmp/kept 0 32768 7
	must gt eat 128 1
	meet "eaten and freed"
	must gt pattern check /tmp/kept 0 32768 7
	must gt eat 128 1
	meet "eaten again"
	must gt pattern check /tmp/kept 0 32768 7
	meet "the run is held"
	must gt eat 128 1
	must gt pattern check /tmp/kept 0 32768 7
}
if [ "${1:-}" = hinting ]; then
	hinting
	echo "balloon: done"
	exit
fi

must gt eat 128 1
meet "eaten and freed"

dd if=/dev/vdb of=/dev/null bs=1M 2>/dev/null
meet "page cache filled"
free_kib() { awk '/^MemAvailable/ { print $2 }' /proc/meminfo; }
meet "inflated, $(free_kib) KiB available"
# More than the balloon leaves: it must give way.
must gt eat 150 1
meet "eaten under pressure"
meet "deflated"
rebind virtio_balloon "$(devices_of virtio_balloon)"
meet "unbound and bound"
must gt eat 64 0
echo "balloon: done"
