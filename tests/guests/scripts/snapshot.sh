#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a guest does while its machine is saved and loaded: snapshot.sh TOPIC. Each topic says which devices it has.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

stop() { touch /tmp/stop; }
goes_on() { [ ! -e /tmp/stop ]; }

# vdb Sync and vdc Async under fio, direct and buffered, with discards; ext4 on vdd, whose files are synced. A line "busy"
# whenever all three have moved on.
requests() {
	read -r reads _ _ _ writes _ <"/sys/block/$1/stat"
	echo $((reads + writes))
}
mark() { b=$(requests vdb) c=$(requests vdc) d=$(requests vdd); }
moved() { [ "$(requests vdb)" -gt $((b + 20)) ] && [ "$(requests vdc)" -gt $((c + 20)) ] && [ "$(requests vdd)" -gt $((d + 5)) ]; }
keep_busy() { # DISK
	seed=0
	while goes_on; do
		seed=$((seed + 1))
		load_disk "$1" $seed --direct=1 --ioengine=io_uring --iodepth=16
		goes_on || break
		load_disk "$1" $seed --direct=0 --ioengine=pvsync
		! takes_discards "$1" || load_disk "$1" $seed --direct=1 --ioengine=psync --rw=randtrimwrite --numjobs=1
	done
}
disks() {
	must mount -t ext4 -o discard /dev/vdd /kept
	must mkdir -p /kept/files
	keep_busy vdb &
	first=$!
	keep_busy vdc &
	second=$!
	gt keep /kept/files 0 >/tmp/kept &
	keeper=$!
	mark
	while goes_on; do
		if moved; then
			echo busy
			mark
		fi
		usleep 100000
	done &
	watcher=$!
	meet "working"
	stop
	must wait $first
	must wait $second
	must wait $watcher
	kill $keeper || wrong "no more files: $(tail -n 1 /tmp/kept)"
	wait $keeper
	last=$(sed -n 's/^kept <\(.*\)>$/\1/p' /tmp/kept | tail -n 1)
	echo 3 >/proc/sys/vm/drop_caches
	must gt kept /kept/files "$last"
	must umount /kept
}

# eth0 on a TAP by name (10.1.0.x), with the metadata service; eth1 on one by descriptor (10.2.0.x).
counted() { cat "/sys/class/net/$1/statistics/$2"; }
mark_streams() {
	for number in 0 1; do
		for way in rx tx; do
			eval "${way}_bytes$number=$(counted eth$number ${way}_bytes) ${way}_packets$number=$(counted eth$number ${way}_packets)"
		done
	done
}
# more WHAT INTERFACE WAY: by how much a counter has grown.
more() { eval "echo \$(($(counted "eth$2" "$3_$1") - $3_$1$2))"; }
flows() {
	for number in 0 1; do
		[ "$(more bytes $number rx)" -gt 1000000 ] && [ "$(more bytes $number tx)" -gt 1000000 ] || return 1
	done
}
# In packets that are larger than the MTU and a header, answers included; a slow machine takes its time for a row of them.
are_large() {
	mark_streams
	usleep 500000
	for number in 0 1; do
		for way in rx tx; do
			[ "$(more bytes $number $way)" -gt $(($(more packets $number $way) * 1514)) ] || continue
			eval "large_$way$number=yes"
		done
	done
	[ "$large_rx0$large_tx0$large_rx1$large_tx1" = yesyesyesyes ]
}
# As many answers as that, though streams may crowd one out.
flood() {
	/bin/ping -4 -n -q -f -c "$2" -w 60 -s 1372 "$1" >/tmp/ping 2>&1 ||
		wrong "pings to $1: $(tail -n 3 /tmp/ping | tr '\n' ' ')"
}
ask() { # METHOD PATH HEADER
	printf '%s /%s HTTP/1.1\r\n%s\r\n\r\n' "$1" "$2" "$3" | nc -w 20 169.254.169.254 80
}
body() { sed '1,/^\r$/d'; }
check_metadata() { # VALUE
	if [ -n "${token:-}" ]; then
		got=$(ask GET name "X-metadata-token: $token" | head -n 1)
		case $got in "HTTP/1.1 401 "*) ;; *) wrong "the old token is answered \"$got\"" ;; esac
	fi
	token=$(ask PUT latest/api/token "X-metadata-token-ttl-seconds: 600" | body)
	got=$(ask GET name "X-metadata-token: $token" | body)
	[ "$got" = "$1" ] || wrong "the name is \"$got\", not \"$1\""
}
network() {
	must ip link set lo up
	for number in 1 2; do
		must ip link set "eth$((number - 1))" up
		must ip addr add "10.$number.0.2/24" dev "eth$((number - 1))"
	done
	must ip route add 169.254.169.254 dev eth0
	must gt offload eth0 on
	must gt offload eth1 on
	meet "addresses"
	check_metadata first
	iperf3 -c 10.1.0.1 -t 1000 --bidir >/tmp/iperf3-1 2>&1 &
	stream1=$!
	iperf3 -c 10.2.0.1 -p 5202 -t 1000 --bidir >/tmp/iperf3-2 2>&1 &
	stream2=$!
	mark_streams
	wait_for 60 flows
	for name in second third; do
		/bin/ping -4 -n -q -f -w 1000 10.1.0.1 >/tmp/flood 2>&1 &
		pinger=$!
		meet "streams"
		kill $pinger || wrong "no more pings: $(tail -n 1 /tmp/flood)"
		wait $pinger
		mark_streams
		wait_for 60 flows
		large_rx0='' large_tx0='' large_rx1='' large_tx1=''
		wait_for 60 are_large
		flood 10.1.0.1 50
		flood 10.2.0.1 50
		check_metadata $name
		ok "the network after a load"
	done
	kill $stream1 || wrong "streams of eth0 ended: $(tail -n 1 /tmp/iperf3-1)"
	kill $stream2 || wrong "streams of eth1 ended: $(tail -n 1 /tmp/iperf3-2)"
	wait $stream1 $stream2
}

# Virtio sockets: connections both ways that last, through a save after which the machine goes on, and until one after
# which another one does. The host says what became of it.
linger() { # NAME
	gt linger vsock:2:7001 "$1" >"/tmp/linger-$1" || echo "WRONG: $(tail -n 1 "/tmp/linger-$1")"
}
steps() { grep -c 'goes on' "/tmp/linger-$1"; }
has_ended() { ! kill -0 "$1"; }
has_gone_on() { [ "$(steps a)" -gt "$a" ] && [ "$(steps b)" -gt "$b" ]; }
sockets() {
	for _ in 1 2; do
		gt echo vsock:7002 2 &
		echo=$!
		gt serve vsock:7003 100 &
		server=$!
		meet "echoing"
		a=0 b=0
		linger a &
		first=$!
		linger b &
		second=$!
		gt linger vsock:2:7001 idle idle &
		idle=$!
		wait_for 60 has_gone_on
		meet "before a save"
		a=$(steps a) b=$(steps b)
		wait_for 60 has_gone_on
		meet "gone on"
		for end in $idle $first $second $echo; do
			wait_for 20 has_ended "$end"
		done
		must wait $idle
		must wait $echo
		ok "old connections ended"
		must gt send vsock:2:7004 2 2 100 once
		must wait $server
		ok "new connections"
	done
}

# Counts on the console, in lines that pauses cut anywhere.
count() {
	number=0
	while goes_on; do
		number=$((number + 1))
		echo "tally $number"
	done
	echo "counted $number"
	touch /tmp/counted
}
random() { dd if=/dev/hwrng bs=512 count=8 2>/dev/null | md5sum; }
again() {
	# Nothing of the kernel's between our lines.
	dmesg -n 1
	must stty -echo
	must gt pattern write /tmp/1 0 4096 1
	count &
	meet "counting"
	stop
	wait_for 60 test -e /tmp/counted
	must gt pattern check /tmp/1 0 4096 1
	before=$(random)
	must stty echo
	echo "ready: to be typed on"
	read -r word
	[ "$word" = abcdef ] || wrong "\"$word\" was typed"
	must stty -echo
	[ "$(random)" != "$before" ] || wrong "/dev/hwrng repeats itself"
	must gt pattern write /tmp/2 0 4096 2
	meet "before the full disk"
	must gt pattern write /tmp/3 0 4096 3
	must gt pattern write /tmp/1 1024 1024 4
	meet "after the full disk"
	must gt pattern check /tmp/1 0 1024 1
	must gt pattern check /tmp/1 1024 1024 4
	must gt pattern check /tmp/1 2048 2048 1
	must gt pattern check /tmp/2 0 4096 2
	must gt pattern check /tmp/3 0 4096 3
}

# One of two machines from one snapshot; each is told its number. vdb, eth0, vsock.
clone() {
	must gt pattern write /tmp/all 0 4096 1
	must gt pattern write /dev/vdb 0 1024 10
	echo "ready: to be cloned"
	read -r number
	must gt pattern check /dev/vdb 0 1024 10
	must gt pattern write /dev/vdb 0 2048 "1$number"
	must gt pattern write /tmp/all 1024 1024 "2$number"
	must gt pattern check /tmp/all 0 1024 1
	must ip link set eth0 up
	must ip addr add "10.$number.0.2/24" dev eth0
	must ping -q -c 5 -A "10.$number.0.1" >/dev/null
	must gt send vsock:2:7000 64 64 2 once
	meet "written"
	echo 3 >/proc/sys/vm/drop_caches
	must gt pattern check /dev/vdb 0 2048 "1$number"
	must gt pattern check /tmp/all 1024 1024 "2$number"
	must gt pattern check /tmp/all 2048 2048 1
}

# Kept pages and freed ones; the host inflates and hints.
balloon() {
	must gt pattern write /tmp/kept 0 32768 7
	while goes_on; do
		must gt eat 24 0 >/dev/null
	done &
	eater=$!
	meet "eating"
	must gt pattern check /tmp/kept 0 32768 7
	meet "checked"
	stop
	must wait $eater
	must gt eat 128 0
	meet "eaten and freed"
	must gt eat 128 0
	must gt pattern check /tmp/kept 0 32768 7
}

"$1"
echo "snapshot: done"
