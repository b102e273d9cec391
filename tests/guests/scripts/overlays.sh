#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Overlays: vdb Sync and flushed, vdc Async and not, both over one base, of which the guest knows the contents.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

zeroes() { # DISK KIB KIB
	! dd if="/dev/$1" bs=1k skip="$2" count="$3" iflag=direct 2>/dev/null | tr -d '\0' | head -c 1 | grep -q .
}

for disk in vdb vdc; do
	must gt pattern check /dev/$disk 0 16384 31
done
ok "the base"

# Of 16 MiB: random I/O in the first eight, the base's contents behind it.
for disk in vdb vdc; do
	load_disk $disk 1 --direct=1 --ioengine=io_uring --iodepth=16 --size=2m
	load_disk $disk 2 --direct=0 --ioengine=pvsync
	! takes_discards $disk || load_disk $disk 3 --direct=1 --ioengine=psync --rw=randtrimwrite --numjobs=1
	echo 3 >/proc/sys/vm/drop_caches
	must gt pattern check /dev/$disk 8192 8192 31
done
ok "random I/O"

# Whole clusters and parts of them: zeroes are zeroes, and their neighbours as they were.
for disk in vdb vdc; do
	must blkdiscard -o $((10240 * 1024)) -l $((1024 * 1024)) /dev/$disk
	zeroes $disk 10240 1024 || wrong "$disk: discarded clusters are not zeroes"
	must gt io zero /dev/$disk ok 12292 200 200
	zeroes $disk 12292 200 || wrong "$disk: what was zeroed is no zeroes"
	must gt pattern check /dev/$disk 9216 1024 31
	must gt pattern check /dev/$disk 11264 1028 31
	must gt pattern check /dev/$disk 12492 3892 31
done
ok "zeroes"

# Then the monitor is killed: what was written and synchronised is there.
for disk in vdb vdc; do
	must gt pattern write /dev/$disk 0 4096 41
	must gt pattern write /dev/$disk 13001 7 42
done
sync
meet "written"
