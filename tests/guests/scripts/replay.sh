#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk that another process of the host serves, vdb, which is killed amid reads and writes again and
# again, and has a longer file in the end.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

meet "load"
for seed in 1 2 3; do
	load_disk vdb $seed --direct=1 --ioengine=io_uring --iodepth=16 --size=2m
done
old=$(blockdev --getsz /dev/vdb)
meet "loaded"
changed() { [ "$(blockdev --getsz /dev/vdb)" != "$old" ]; }
wait_for 20 changed
ok "now $(blockdev --getsz /dev/vdb)"
load_disk vdb 4 --direct=1 --ioengine=psync
echo "replay: done"
