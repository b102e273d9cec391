#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The metadata service over a wire that loses, doubles and disorders frames of both directions.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

root=http://169.254.169.254
# By their paths: busybox has applets of these names.
export HOME=/tmp

must ip link set lo up
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
must ip route add 169.254.169.254 dev eth0
# What comes in goes round by way of an ifb, whose queue is the bad one.
# The kernel must not join frames before they come there.
must /bin/ip link set eth0 gro_max_size 1
must ip link set ifb0 up
must /bin/tc qdisc add dev eth0 clsact
must /bin/tc filter add dev eth0 ingress matchall action mirred egress redirect dev ifb0

token=$(curl -sS -m 300 -X PUT $root/latest/api/token -H 'X-metadata-token-ttl-seconds: 21600') || wrong "no token"
fetch() { curl -sS -m 500 -H "X-metadata-token: $token" "$root/$1"; }

seq -w 1 160000 | tr '\n' , >/tmp/big
for percent in 1 5 15; do
	for dev in eth0 ifb0; do
		must /bin/tc qdisc replace dev $dev root netem delay 2ms 1ms loss $percent% duplicate $percent% reorder 75%
	done
	fetch big | cmp - /tmp/big || wrong "1 MiB came as other bytes, or not, where $percent of 100 frames are lost"
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		got=$(fetch latest/meta-data/ami-id)
		[ "$got" = ami-1 ] || wrong "got \"$got\" where $percent of 100 frames are lost"
	done
	ok "$percent of 100 frames lost"
done
for dev in eth0 ifb0; do
	lost=$(/bin/tc -s qdisc show dev $dev | sed -n 's/.*(dropped \([0-9]*\),.*/\1/p' | head -n 1)
	[ "$lost" -gt 100 ] || wrong "$dev lost only $lost frames"
	ok "$lost frames of $dev lost"
done
echo "wire: done"
