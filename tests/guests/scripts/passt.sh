#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eth0 on passt: the gateway stands for the host's loopback, and the host's port 5001 for ours. The host ends passt and
# starts it again, and loads the machine beside another passt.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

must ip link set lo up
must ip link set eth0 up
must ip addr add 10.9.0.15/24 dev eth0
must ip route add default via 10.9.0.1
carrier() { [ "$(cat /sys/class/net/eth0/carrier)" = "$1" ]; }
carrier 1 || wrong "the link is down"

# both_ways WHAT: to a server on the host, and from the host to one of ours.
both_ways() {
	must gt send tcp:10.9.0.1:5000 256 256 2
	gt serve tcp:10.9.0.15:5001 2 &
	meet "serving, $1"
	wait $! || wrong "no bytes come from the host, $1"
	ok "both ways, $1"
}
must ip link set eth0 mtu 1500
both_ways "at first"
# Frames of 64 KiB, spread over merged buffers.
must ip link set eth0 mtu 65520
both_ways "in long frames"

meet "passt to end"
wait_for 20 carrier 0
ok "the link is down"
meet "passt to come"
wait_for 20 carrier 1
both_ways "through the next passt"

rebind virtio_net "$(device_of /sys/class/net/eth0)"
wait_for 10 test -e /sys/class/net/eth0
must ip link set eth0 up
must ip addr add 10.9.0.15/24 dev eth0
must ip route add default via 10.9.0.1
meet "to be saved"
both_ways "after a load"
echo "passt: done"
