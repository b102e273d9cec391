#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Devices of a PCI bus that come and go: plug.sh rescan|ports|hangs. With "rescan" the guest is told nothing: it looks for
# what has come, and removes what is to go. With "ports" it does neither. With "hangs" it has two disks that the host holds.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh
way=$1

look() { [ "$way" = ports ] || echo 1 >/sys/bus/pci/rescan; }
# The PCI function of a disk or interface, as /sys/block/vdb.
function_of() { dirname "$(readlink -f "$1/device")"; }
remove() { [ "$way" = ports ] || must sh -c "echo 1 >$(function_of "$1")/remove"; }
has_gone() { [ ! -e "$1" ]; }
# Ports take turns, so that one whose power has just gone off is left in peace.
place() { [ "$way" = ports ] && echo "0000:0$1:00.0" || echo 0000:00:02.0; }

is_dead() { [ "$(od -An -tx4 -N4 "$1" | tr -d ' ')" = ffffffff ]; }

# Of one disk a read is in flight while it is unplugged, of the other one a write is not on the disk.
hangs() {
	reads=$(function_of /sys/block/vdb)/config
	writes=$(function_of /sys/block/vdc)/config
	must gt io write /dev/vdc ok 0 64 64
	meet "to hang"
	gt io read /dev/vdb ok 4096 4 4 &
	pid=$!
	usleep 500000
	meet "a read in flight"
	meet "typed while it hangs"
	must wait $pid
	wait_for 20 is_dead "$reads"
	must ls /tests >/dev/null
	meet "a write in the cache"
	meet "typed while that hangs"
	wait_for 20 is_dead "$writes"
	echo "plug: done"
}

[ "$way" != hangs ] || { hangs; exit; }

# A file system, twice on the same place.
for round in 1 2; do
	meet "file system $round"
	look
	wait_for 20 test -b /dev/vdb
	[ "$(basename "$(function_of /sys/block/vdb)")" = "$(place $round)" ] || wrong "vdb is $(function_of /sys/block/vdb)"
	must mount -t ext4 /dev/vdb /kept
	[ $round = 1 ] || must gt pattern check /kept/file 0 1024 41
	must gt pattern write /kept/file 0 1024 4$round
	must umount /kept
	remove /sys/block/vdb
	meet "file system $round removed"
	wait_for 20 has_gone /dev/vdb
done
ok "plugged and unplugged"

# Two at once, of which the first goes again; the other one works on in another process.
meet "a disk"
look
wait_for 20 test -b /dev/vdb
meet "another one"
look
wait_for 20 test -b /dev/vdc
load_disk vdb 1 --direct=1 --ioengine=io_uring --iodepth=16
load_disk vdc 1 --direct=1 --ioengine=io_uring --iodepth=16
must gt pattern write /dev/vdc 0 1024 50
remove /sys/block/vdb
meet "the first removed"
wait_for 20 has_gone /dev/vdb
must gt pattern check /dev/vdc 0 1024 50
place=$(function_of /sys/block/vdc)
meet "to be saved"
echo 3 >/proc/sys/vm/drop_caches
must gt pattern check /dev/vdc 0 1024 50
load_disk vdc 2 --direct=1 --ioengine=io_uring --iodepth=16
[ "$(function_of /sys/block/vdc)" = "$place" ] || wrong "vdc has moved"
ok "loaded"

meet "an interface"
look
wait_for 20 test -e /sys/class/net/eth0
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
must ping -q -c 20 -A 10.1.0.1 >/dev/null
remove /sys/class/net/eth0
meet "the interface removed"
wait_for 20 has_gone /sys/class/net/eth0
ok "an interface"

# A disk that goes while it is used: it is dead, or gone, and all else goes on.
fio --name=load --filename=/dev/vdc --size=4m --rw=randrw --direct=1 --ioengine=io_uring --iodepth=16 --time_based \
	--runtime=1000 >/dev/null 2>&1 &
sleep 1
config=$(function_of /sys/block/vdc)/config
meet "to be unplugged under load"
if [ "$way" = ports ]; then
	wait_for 20 has_gone /dev/vdc
else
	is_dead "$config" || wrong "the function is still there"
fi
must ls /tests >/dev/null
ok "dead"
echo "plug: done"
