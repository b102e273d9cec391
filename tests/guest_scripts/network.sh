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
# flood ADDRESS: many pings, each as soon as the last was answered; busybox tells of none lost.
flood() { ping -q -A -c 200 -s "$2" "$1" | grep -q ' 0% packet loss' || wrong "pings to $1 were lost"; }

must ip link set lo up
up eth0 10.1.0.2
up eth1 10.2.0.2
ok "eth0 $(cat /sys/class/net/eth0/address) mtu $(cat /sys/class/net/eth0/mtu)"
ok "eth1 $(cat /sys/class/net/eth1/address) mtu $(cat /sys/class/net/eth1/mtu)"
meet "addresses"
flood 10.1.0.1 56
flood 10.1.0.1 1400
flood 10.2.0.1 8000
ok "pings"

# The host serves three times: with offloads, without the guest's, without any.
transfer() {
	must gt send tcp:10.1.0.1:5000 "$1" "$1" 4
	must gt send tcp:10.2.0.1:5000 "$1" "$1" 2
}
must gt offload eth0 on
must gt offload eth1 on
transfer 1024
ok "transfers with offloads"
must gt offload eth0 off
must gt offload eth1 off
transfer 512
ok "transfers without the guest's offloads"
meet "host's offloads off"
transfer 512
ok "transfers without offloads"
gt serve tcp:10.1.0.2:5001 4 &
meet "serving tcp"
wait
for device in eth0 eth1; do
	rebind virtio_net "$(device_of /sys/class/net/$device)"
	wait_for 10 test -e /sys/class/net/$device
done
up eth0 10.1.0.2
up eth1 10.2.0.2
flood 10.1.0.1 56
flood 10.2.0.1 8000
must gt send tcp:10.1.0.1:5000 256 256 2
ok "eth0 and eth1 were unbound and bound"

echo "network: done"
