#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a CPU template has made of the processor, on each of the CPUs.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

lines() { grep -c "$1" /proc/cpuinfo; }
on_all() { [ "$(lines "$1")" = "$(lines ^processor)" ] || wrong "not on all CPUs: $1"; }
on_none() { [ "$(lines "$1")" = 0 ] || wrong "on a CPU: $1"; }

case $(uname -m) in
x86_64)
	on_all 'flags.* sse4_1 '
	on_none 'flags.* sse4_2 '
	on_all '^stepping.*: 13$'
	on_all '^microcode.*: 0x1234$'
	;;
aarch64)
	[ ! -e /sys/bus/platform/devices/smccc_trng ] || wrong "the firmware has a TRNG"
	on_all '^Features.* sve'
	;;
esac
meet "seen"
must gt pattern write /tmp/file 0 1024 3
must gt pattern check /tmp/file 0 1024 3
echo "cpu: done"
