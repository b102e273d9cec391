#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eth0 on a TAP by name (10.1.0.x), eth1 on one by descriptor (10.2.0.x).
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

up() {
	must ip link set "$1" up
	ip addr show dev "$1" | grep -q "$2" || must ip addr add "$2/24" dev "$1"
}
# flood ADDRESS SIZE COUNT [LOST]: a ping as soon as the last was answered; at most LOST of them may have no answer. Not
# busybox's ping. (-f sends a hundred a second whether they are answered or not: answers to those that a slow machine
# has waiting find the socket of ping full.)
flood() {
	/bin/ping -4 -n -q -A -c "$3" -s "$2" "$1" >/tmp/ping 2>&1
	received=$(sed -n 's/.* transmitted, \([0-9]*\) received.*/\1/p' /tmp/ping)
	[ "${received:-0}" -ge $(($3 - ${4:-0})) ] ||
		wrong "pings to $1: $(tail -n 3 /tmp/ping | tr '\n' ' ') drops here: $(counted eth0 rx_dropped) $(counted eth0 tx_dropped)"
}
# load ADDRESS OPTION...: streams of iperf3; the host's namespace has the server.
load() {
	iperf3 -c "$@" >/tmp/iperf3 2>&1 || wrong "iperf3 $*: $(tail -n 1 /tmp/iperf3)"
	echo "$*: $(tail -n 3 /tmp/iperf3 | head -n 1)"
}
counted() { cat "/sys/class/net/$1/statistics/$2"; }

must ip link set lo up
up eth0 10.1.0.2
up eth1 10.2.0.2
ok "eth0 $(cat /sys/class/net/eth0/address) mtu $(cat /sys/class/net/eth0/mtu)"
ok "eth1 $(cat /sys/class/net/eth1/address) mtu $(cat /sys/class/net/eth1/mtu)"
meet "addresses"
flood 10.1.0.1 56 200
flood 10.1.0.1 1372 50
flood 10.2.0.1 8000 100
ok "pings"

# transfer WHICH LARGE: loads both interfaces both ways; then bytes are looked at, which iperf3 does not. LARGE: whether
# packets of more than MTU 1400 and a header are sent, for the device to cut.
transfer() {
	packets=$(counted eth0 tx_packets) bytes=$(counted eth0 tx_bytes)
	load 10.1.0.1 -n 1M -P 2
	packets=$(($(counted eth0 tx_packets) - packets)) bytes=$(($(counted eth0 tx_bytes) - bytes))
	[ $((bytes > packets * 1414)) = "$2" ] || wrong "$bytes bytes were sent in $packets packets $1"
	echo "$bytes bytes in $packets packets"
	load 10.1.0.1 -n 1M -P 2 -R
	load 10.2.0.1 -n 1M
	load 10.2.0.1 -n 1M -R
	must gt send tcp:10.1.0.1:5000 128 128 2
	must gt send tcp:10.2.0.1:5000 128 128 2
	ok "transfers $1"
}
must gt offload eth0 on
must gt offload eth1 on
transfer "with offloads" 1
must gt offload eth0 off
must gt offload eth1 off
transfer "without the guest's offloads" 0
meet "host's offloads off"
transfer "without offloads" 0

must gt offload eth0 on
iperf3 -s -4 -1 >/tmp/server 2>&1 &
server_listens() { grep -q ' [0-9A-F]*:1451 00000000:0000 0A ' /proc/net/tcp; }
wait_for 30 server_listens
meet "serving iperf3"
wait $! || wrong "the guest's iperf3 server fails"

# Pings both ways come through while streams both ways take all that there is; then the streams are still alive. The
# queues of both kernels have an end, so a ping or two may find one full.
iperf3 -c 10.1.0.1 -t 250 --bidir >/tmp/iperf3 2>&1 &
stream=$!
flows() {
	[ "$(counted eth0 tx_bytes)" -gt $((sent + 1000000)) ] && [ "$(counted eth0 rx_bytes)" -gt $((got + 1000000)) ]
}
mark() { sent=$(counted eth0 tx_bytes) got=$(counted eth0 rx_bytes); }
mark
wait_for 30 flows
meet "streams"
flood 10.1.0.1 56 150 2
flood 10.1.0.1 1372 50 2
meet "flooded"
mark
wait_for 30 flows
kill $stream || wrong "the streams ended before the flood: $(tail -n 1 /tmp/iperf3)"
wait $stream
ok "pings amid streams"
for device in eth0 eth1; do
	rebind virtio_net "$(device_of /sys/class/net/$device)"
	wait_for 10 test -e /sys/class/net/$device
done
up eth0 10.1.0.2
up eth1 10.2.0.2
flood 10.1.0.1 56 100
flood 10.2.0.1 8000 100
load 10.1.0.1 -n 1M
must gt send tcp:10.1.0.1:5000 128 128 2
ok "eth0 and eth1 were unbound and bound"

echo "network: done"
