#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eth0, which the host's kernel serves. Both ends of a connection know what bytes are to come.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

up() {
	must ip link set eth0 up
	must ip addr add 10.1.0.2/24 dev eth0
}
transfer() {
	must gt send tcp:10.1.0.1:5000 512 512 2
	must /bin/ping -4 -n -q -f -c 50 -s 1372 10.1.0.1 >/dev/null
}

must ip link set lo up
up
[ "$(cat /sys/class/net/eth0/address)" = 06:00:ac:10:00:02 ] || wrong "the address is another"
meet "addresses"
transfer
ok "carries"
rebind virtio_net "$(device_of /sys/class/net/eth0)"
wait_for 10 test -e /sys/class/net/eth0
up
transfer
ok "bound again"
meet "a pause"
transfer
ok "goes on"
meet "a load"
transfer
ok "loaded"
echo "kernel net: done"
