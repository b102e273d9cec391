#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk that another process of the host serves, vdb, which is killed amid reads and writes again and again.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

meet "load"
for seed in 1 2 3; do
	load_disk vdb $seed --direct=1 --ioengine=io_uring --iodepth=16 --size=2m
done
meet "loaded"
load_disk vdb 4 --direct=1 --ioengine=psync
echo "replay: done"
