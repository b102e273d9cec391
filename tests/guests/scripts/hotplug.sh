#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest whose memory grows by 256 MiB and shrinks again. It uses more than it had, keeps a file of known contents in
# it, and goes on after a save and a load. In the end it looks at its file again and again, as do those that are forked.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

ram_mib() { awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo; }
before=$(ram_mib)
has_grown_by() { [ "$(ram_mib)" -ge $((before + $1)) ]; }
is_as_before() { [ "$(ram_mib)" -le $((before + 2)) ]; }

must sh -c 'echo online_movable >/sys/devices/system/memory/auto_online_blocks'
meet "small"
wait_for 60 has_grown_by 250
must gt pattern write /tmp/kept 0 32768 7
must gt eat 240 0
meet "grown"
must gt pattern check /tmp/kept 0 32768 7
must gt eat 240 0
meet "loaded"
wait_for 120 is_as_before
must gt pattern check /tmp/kept 0 32768 7
meet "shrunk"
wait_for 60 has_grown_by 120
must gt eat 100 0
echo "ready: to be forked"
while true; do
	must gt pattern check /tmp/kept 0 32768 7
	has_grown_by 120 || wrong "the memory went"
	echo "kept: ok"
	usleep 500000
done
