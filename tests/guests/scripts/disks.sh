#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Disks: vda the read-only root, vdb Sync, vdc Async, vdd to be replaced, vde slow, vdf removed and
# bound again under load.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

[ "$(blockdev --getro /dev/vda)" = 1 ] || wrong "the root disk is not read-only"
must_fail dd if=/dev/zero of=/dev/vda bs=512 count=1
must_fail touch /new
ok "read-only root"

ok "queues $(ls /sys/block/vdb/mq | wc -l) $(ls /sys/block/vdc/mq | wc -l)"
ok "cache $(cat /sys/block/vdb/queue/write_cache), $(cat /sys/block/vdc/queue/write_cache)"
[ -n "$(cat /sys/block/vdb/serial)" ] || wrong "vdb has no serial number"

for disk in vdb vdc; do
	load_disk $disk 1 --direct=1 --ioengine=io_uring --iodepth=16 --size=2m
	load_disk "$disk" 2 --direct=0 --ioengine=pvsync
	! takes_discards "$disk" || load_disk "$disk" 3 --direct=1 --ioengine=psync --rw=randtrimwrite --numjobs=1
done
ok "random I/O"

# The host looks at the files: written through, then with a hole in place of the discarded half.
for disk in vdb vdc; do
	must gt pattern write /dev/$disk 0 8192 11
	meet "$disk written"
	if takes_discards $disk; then
		must blkdiscard -o 0 -l 4194304 /dev/$disk
		echo 3 >/proc/sys/vm/drop_caches
		must gt pattern check /dev/$disk 4096 4096 11
		dd if=/dev/$disk bs=64k count=64 2>/dev/null | tr -d '\0' | head -c 1 | grep -q . &&
			wrong "discarded sectors are not zeros"
		meet "$disk discarded"
	else
		meet "$disk takes no discards"
	fi
done

# Another file, larger: the capacity changes, the content is that one's.
must gt pattern check /dev/vdd 0 1024 21
old=$(blockdev --getsz /dev/vdd)
meet "old file, $old sectors"
changed() { [ "$(blockdev --getsz /dev/vdd)" != "$old" ]; }
wait_for 20 changed
echo 3 >/proc/sys/vm/drop_caches
must gt pattern check /dev/vdd 0 4096 22
load_disk vdd 1 --direct=1 --ioengine=psync
ok "new file, $(blockdev --getsz /dev/vdd) sectors"

# Bytes, then operations, then neither; the host looks at its clock, which the limits go by.
meet "bytes"
must dd if=/dev/vde of=/dev/null bs=64k count=16 iflag=direct
ok "limited by bytes"
meet "operations"
must dd if=/dev/zero of=/dev/vde bs=4k count=60 oflag=direct
ok "limited by operations"
meet "no limits"
must dd if=/dev/vde of=/dev/null bs=64k count=128 iflag=direct
ok "not limited"

# While it is read, and while it idles.
device=$(device_of /sys/block/vdf)
for round in 1 2 3; do
	must gt pattern write /dev/vdf 0 1024 "3$round"
	[ $round = 3 ] || dd if=/dev/vdf of=/dev/null bs=64k iflag=direct 2>/dev/null &
	rebind virtio_blk "$device"
	wait
	wait_for 10 test -b /dev/vdf
	must gt pattern check /dev/vdf 0 1024 "3$round"
	load_disk vdf $round --direct=1 --ioengine=psync
done
ok "unbound and bound"
echo "disks: done"
