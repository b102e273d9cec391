#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Persistent memory: pmem.sh memory|plug.
#
# memory: pmem0 is the root, by DAX and read-only for its file; pmem1 has ext4, pmem2 to pmem5 nothing. The file of pmem3 is
# read-only, that of pmem4 is cut, and pmem5's is sparse on a file system that is full. vda is a disk.
# plug: a device comes and goes on the PCI bus, behind ports.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh
dmesg -n 1

is_dax() { grep -q "^$1 $2 ext4 .*dax" /proc/mounts || wrong "no DAX: $(grep " $2 " /proc/mounts)"; }
forget_cache() { echo 3 >/proc/sys/vm/drop_caches; }

# load_dax SEED ENGINE: mapped or copied, every write is verified.
load_dax() {
	must fio --name=load --filename=/kept/load --size=4m --rw=randrw --bsrange=4k-64k --fsync=32 --ioengine="$2" \
		--randseed="$1" --verify=crc32c --verify_backlog=32 --verify_fatal=1 --eta=never --output=/tmp/fio
}

# The disk's device reads and writes memory of the file, not RAM. fio maps a file that has to be there.
load_direct() {
	must dd if=/dev/zero of=/kept/buffer bs=64k count=1 2>/dev/null
	must fio --name=direct --filename=/dev/vda --size=1m --rw=randrw --bs=4k --direct=1 --ioengine=io_uring --iodepth=8 \
		--iomem=mmapshared:/kept/buffer --verify=crc32c --verify_backlog=32 --verify_fatal=1 --eta=never --output=/tmp/fio
}

memory() {
	is_dax /dev/root /
	must mount -t ext4 -o dax /dev/pmem1 /kept
	is_dax /dev/pmem1 /kept
	load_dax 1 mmap
	load_dax 2 sync
	must gt pattern write /kept/file 0 1024 61
	must gt pattern write /dev/pmem2 0 8192 62
	must sync
	ok "loads"
	meet "written"
	must gt pattern write /dev/pmem3 0 512 63
	forget_cache
	must gt pattern check /dev/pmem3 0 512 63
	meet "to be saved"
	forget_cache
	must gt pattern check /kept/file 0 1024 61
	must gt pattern check /dev/pmem2 0 8192 62
	load_dax 3 mmap
	for device in $(devices_of virtio_pmem); do
		# Those of pmem0 and pmem1 are mounted.
		case $(ls -d "/sys/bus/virtio/devices/$device"/ndbus*/region*/namespace*/block/* 2>/dev/null) in
		*pmem2) rebind virtio_pmem "$device" ;;
		esac
	done
	wait_for 20 test -b /dev/pmem2
	must gt pattern check /dev/pmem2 0 8192 62
	ok "loaded"

	must gt pattern write /dev/pmem4 0 8192 64
	must sync
	meet "to be cut"
	forget_cache
	must gt pattern check /dev/pmem4 0 1024 64
	[ "$(dd if=/dev/pmem4 bs=64k skip=16 2>/dev/null | tr -d '\0' | wc -c)" = 0 ] || wrong "bytes behind the cut"
	must dd if=/dev/zero of=/dev/pmem4 bs=64k seek=100 count=1 2>/dev/null
	must gt io flush /dev/pmem4 EIO
	ok "cut"
	must sh -c "tr '\\0' x </dev/zero | dd of=/dev/pmem5 bs=64k count=128 iflag=fullblock 2>/dev/null"
	must gt io flush /dev/pmem5 EIO
	forget_cache
	[ "$(tr -d x </dev/pmem5 | wc -c)" = 0 ] || wrong "the memory over holes has lost bytes"
	ok "full"
	load_dax 4 mmap
	load_direct
	must gt io flush /dev/pmem2 ok
	must umount /kept
	must ls /tests >/dev/null
	echo "pmem: done"
}

has_gone() { [ ! -e "$1" ]; }

plug() {
	for round in 1 2; do
		meet "round $round"
		wait_for 20 test -b /dev/pmem0
		must mount -t ext4 -o dax /dev/pmem0 /kept
		is_dax /dev/pmem0 /kept
		[ $round = 1 ] || must gt pattern check /kept/file 0 1024 71
		must gt pattern write /kept/file 0 1024 7$round
		load_dax $round mmap
		[ $round = 1 ] || meet "to be saved"
		must gt pattern check /kept/file 0 1024 7$round
		must umount /kept
		meet "round $round removed"
		wait_for 20 has_gone /dev/pmem0
	done
	ok "plugged and unplugged"

	# One that goes while it is read: the guest is not asked, and lives. A shutdown would wait in the guest for the driver
	# that is being removed, so it resets without one.
	meet "a last one"
	wait_for 20 test -b /dev/pmem0
	(while dd if=/dev/pmem0 of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done) &
	sleep 1
	meet "to be unplugged under load"
	must ls /tests >/dev/null
	echo "pmem: done"
	echo b >/proc/sysrq-trigger
}

"$1"
