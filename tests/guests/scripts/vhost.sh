#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk that another process of the host serves, vdb. The host ends that process and starts it again, and makes the
# disk larger.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

ok "cache $(cat /sys/block/vdb/queue/write_cache)"
must mount -t ext4 /dev/vdb /kept 2>/dev/null
must gt pattern write /kept/file 0 1024 7
must umount /kept
load_disk vdb 1 --direct=1 --ioengine=io_uring --iodepth=16 --size=2m
ok "loaded"

meet "back-end to end"
load_disk vdb 2 --direct=1 --ioengine=psync
ok "served again"

old=$(blockdev --getsz /dev/vdb)
meet "sectors $old"
changed() { [ "$(blockdev --getsz /dev/vdb)" != "$old" ]; }
wait_for 20 changed
ok "now $(blockdev --getsz /dev/vdb)"
must gt pattern write /dev/vdb 0 1024 8

rebind virtio_blk "$(device_of /sys/block/vdb)"
wait_for 10 test -b /dev/vdb
must gt pattern check /dev/vdb 0 1024 8
load_disk vdb 3 --direct=1 --ioengine=io_uring --iodepth=16
ok "unbound and bound"
echo "vhost: done"
