#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A host that fails: faults.sh disks|slow|taps. The host counts the requests that end with EIO.
#
# disks: vdb (Sync) and vdc (Async) are files of 8 MiB on a file system of 2 MiB; vdd (Sync) and vde
# (Async) are bad from 4096 KiB on, for 128 KiB; vdf is well, with ext4.
# slow: vdb (Sync) and vdc (Async) hang, then take their time for each request; eth0 is well.
# taps: eth0 is switched off, on, and deleted; eth1 is well.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

# Nothing of the kernel's between our lines: it tells each I/O error.
dmesg -n 1

# alive NUMBER: the file system on vdf takes a file and has it.
alive() {
	must gt pattern write "/kept/$1" 0 64 "$1"
	must sync
	echo 3 >/proc/sys/vm/drop_caches
	must gt pattern check "/kept/$1" 0 64 "$1"
}

# 16 requests that find no room, one of which the half had its place, and zeroes.
full() {
	must gt io write "$1" EIO 1024 64 4
	must gt io write "$1" EIO 192 128 128
	must gt io zero "$1" EIO 2048 64 64
	must gt io write "$1" ok 0 256 64
	must gt io flush "$1" ok
	must gt io read "$1" ok 960 256 64
}

# 32 reads, one that is only half bad, and the flush of what the host's page cache took.
bad() {
	must gt io read "$1" ok 4032 64 4
	must gt io read "$1" EIO 4096 128 4
	must gt io read "$1" ok 4224 64 4
	must gt io read "$1" EIO 4064 64 64
	must gt io write "$1" ok 4032 64 4
	must gt io flush "$1" ok
	must gt io write "$1" ok 4096 16 4
	must gt io flush "$1" EIO
	must gt io write "$1" ok 0 64 64
	must gt io flush "$1" ok
}

# Reads beyond the end, one that begins before it; a write makes the file longer, with a hole.
cut() {
	must gt io read "$1" ok 0 128 64
	must gt io read "$1" EIO 128 128 4
	must gt io read "$1" EIO 64 128 128
	must gt io write "$1" ok 512 64 4
	must gt io read "$1" ok 0 576 64
	must gt io flush "$1" ok
}

disks() {
	must mount -t ext4 /dev/vdf /kept
	alive 1
	for disk in /dev/vdb /dev/vdc; do
		must gt io write $disk ok 0 256 64
		must gt io flush $disk ok
	done
	meet "disks have room"
	full /dev/vdb
	full /dev/vdc
	alive 2
	meet "disks are full"
	for disk in /dev/vdb /dev/vdc; do
		must gt io write $disk ok 1024 64 4
		must gt io zero $disk ok 2048 64 64
		must gt io flush $disk ok
		must gt pattern check $disk 0 256 51
		must gt pattern check $disk 1024 64 51
	done
	ok "room again"
	bad /dev/vdd
	bad /dev/vde
	alive 3
	meet "sectors are bad"
	for disk in /dev/vdd /dev/vde; do
		must gt io write $disk ok 4096 128 4
		must gt io flush $disk ok
		must gt pattern check $disk 4032 192 51
	done
	ok "sectors mended"
	meet "files are whole"
	cut /dev/vdb
	cut /dev/vdc
	alive 4
	meet "files were cut"
	must umount /kept
}

# busy DISK PLACE: eight requests at once, of each kind that may wait for a disk; reads of a PLACE that is not cached.
busy() {
	gt io zero "$1" ok $(($2 + 1536)) 4 4 &
	pids=$!
	usleep 200000 # The host's kernel lets nobody read ahead while it makes zeroes.
	for number in 0 1 2 3 4; do
		gt io read "$1" ok $(($2 + 256 * number)) 4 4 &
		pids="$pids $!"
	done
	gt io write "$1" ok $(($2 + 1280)) 4 4 &
	pids="$pids $!"
	gt io flush "$1" ok &
	pids="$pids $!"
}

# all_hang: but for a write, which the host's page cache takes, and a flush, for which the device has no cache.
all_hang() {
	number=0
	for pid in $pids; do
		! grep -q 'State:.*[DS] ' "/proc/$pid/status" 2>/dev/null || number=$((number + 1))
	done
	[ $number -ge 6 ] || wrong "only $number of 8 requests hang"
}

all_end() {
	for pid in $pids; do
		must wait "$pid"
	done
}

slow() {
	must ip link set eth0 up
	must ip addr add 10.1.0.2/24 dev eth0
	must ping -q -c 3 -A 10.1.0.1 >/dev/null
	for disk in /dev/vdb /dev/vdc; do
		case $disk in
		*b) engine=Sync ;;
		*) engine=Async ;;
		esac
		meet idle
		busy $disk 0
		usleep 500000
		must ping -q -c 20 -A 10.1.0.1 >/dev/null
		ok "pings while it hangs"
		meet hangs
		all_hang
		ok "typed while it hangs"
		all_end
		ok "all is done"
		meet "to be slow"
		busy $disk 4096
		all_end
		must gt pattern check $disk 5376 4 51
		meet "$engine delayed"
	done
}

taps() {
	for number in 1 2; do
		must ip link set "eth$((number - 1))" up
		must ip addr add "10.$number.0.2/24" broadcast "10.$number.0.255" dev "eth$((number - 1))"
		must ping -q -c 3 -A "10.$number.0.1" >/dev/null
	done
	meet "both are up"
	must gt shout 10.1.0.255 300
	must gt send tcp:10.2.0.1:5000 16 16 1
	# It connects once the interface is up again.
	gt send tcp:10.1.0.1:5000 64 64 1 &
	sender=$!
	meet "eth0 is down"
	must wait $sender
	must ping -q -c 20 -A 10.1.0.1 >/dev/null
	ok "eth0 is up again"
	gt shout 10.1.0.255 2000 &
	sender=$!
	meet "shouting"
	must wait $sender
	must gt shout 10.1.0.255 100
	must ping -q -c 20 -A 10.2.0.1 >/dev/null
	meet "eth0 is gone"
	rebind virtio_net "$(device_of /sys/class/net/eth0)"
	must ping -q -c 20 -A 10.2.0.1 >/dev/null
	must dd if=/dev/vda of=/dev/null bs=64k count=16 2>/dev/null
	meet "eth0 was bound again"
	must ping -q -c 20 -A 10.2.0.1 >/dev/null
}

"$1"
echo "faults: done"
