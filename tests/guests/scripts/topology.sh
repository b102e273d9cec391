#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What lscpu and hwloc make of the processor: topology.sh CPUS THREADS_OF_A_CORE
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

cores=$(($1 / $2))

# lscpu_says NAME NUMBER
lscpu_says() {
	got=$(lscpu | sed -n "s/^ *$1: *//p")
	[ "$got" = "$2" ] || wrong "lscpu: $1 is \"$got\" and not $2"
}
# hwloc_has TYPE NUMBER
hwloc_has() {
	got=$(lstopo-no-graphics --no-io --only "$1" | wc -l)
	[ "$got" = "$2" ] || wrong "hwloc: there are $got of $1 and not $2"
}

lscpu_says 'CPU(s)' "$1"
lscpu_says 'Thread(s) per core' "$2"
hwloc_has pu "$1"
hwloc_has core $cores
case $(uname -m) in
x86_64)
	lscpu_says 'Core(s) per socket' $cores
	lscpu_says 'Socket(s)' 1
	hwloc_has package 1
	# Its threads share it. Of an emulated host's caches nothing may be known.
	[ ! -e /sys/devices/system/cpu/cpu0/cache ] || hwloc_has l1d $cores
	;;
esac
echo "topology: done"
