#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A little of everything: what makes the monitor use each system call that it may (tests/seccomp).
# vdb Sync, vdc Async, eth0, vsock, entropy, balloon.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

for disk in vdb vdc; do
	must gt pattern write /dev/$disk 0 256 11
	must dd if=/dev/zero of=/dev/$disk bs=4k count=4 conv=fsync 2>/dev/null
	must blkdiscard -o 0 -l 65536 /dev/$disk
	must gt pattern check /dev/$disk 128 128 11
done
meet "disks written"
# A reset amid requests in flight.
device=$(device_of /sys/block/vdc)
for _ in 1 2 3 4; do
	dd if=/dev/vdc of=/dev/null bs=64k iflag=direct 2>/dev/null &
	rebind virtio_blk "$device"
	wait
	wait_for 10 test -b /dev/vdc
done

must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
meet "addresses"
ping -q -A -c 20 10.1.0.1 | grep -q ' 0% packet loss' || wrong "pings were lost"
rebind virtio_net "$(device_of /sys/class/net/eth0)"

must gt send vsock:2:7000 64 64 3
gt serve vsock:7002 3 &
meet "serving vsock"
wait
must dd if=/dev/hwrng of=/dev/null bs=512 count=2 2>/dev/null
meet "memory"
meet "to be saved"
echo "calls: done"
