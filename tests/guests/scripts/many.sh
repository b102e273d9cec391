#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Many devices at once: many.sh DISKS INTERFACES. Every disk but the first begins with its number,
# every one is read and written at the same time; every interface is there; so are the rest.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

count() { ls -d "/sys/bus/virtio/drivers/$1"/virtio* | wc -l; }
[ "$(count virtio_blk)" = "$1" ] || wrong "there are $(count virtio_blk) disks"
[ "$(count virtio_net)" = "$2" ] || wrong "there are $(count virtio_net) interfaces"
for driver in virtio_balloon virtio_rng vmw_vsock_virtio_transport; do
	[ "$(count $driver)" = 1 ] || wrong "$driver has no device"
done
# Its first KiB are its own, the rest is holes.
try_disk() {
	must gt pattern check "$1" 0 64 $((40 + $2))
	must gt pattern write "$1" 64 512 "$2"
	echo 1 >/proc/sys/vm/drop_caches
	must gt pattern check "$1" 64 512 "$2"
}
number=0
for disk in /sys/block/vd?*; do
	disk=/dev/${disk##*/}
	[ "$disk" != /dev/vda ] || continue
	number=$((number + 1))
	try_disk "$disk" $number &
done
wait
ok "$number disks"
number=0
while [ $number -lt "$2" ]; do
	must ip link set "eth$number" up
	must ip addr add "10.9.$number.2/24" dev "eth$number"
	must ping -q -c 3 -A "10.9.$number.1" >/dev/null
	number=$((number + 1))
done
ok "$number interfaces"
must gt send vsock:2:7000 16 16 2
[ "$(dd if=/dev/hwrng bs=512 count=2 2>/dev/null | wc -c)" = 1024 ] || wrong "no entropy"
echo "many: done"
