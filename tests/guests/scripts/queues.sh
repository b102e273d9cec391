#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eth0 with a queue pair for each of four CPUs. What is sent from a CPU goes by its queue, and the host answers by the queue
# that a connection was last heard on.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

# pairs N: so many are in use.
pairs() {
	for direction in rx tx; do
		found=$(ls -d /sys/class/net/eth0/queues/$direction-* | wc -l)
		[ "$found" = "$1" ] || wrong "$found queues $direction, and not $1"
	done
}
# transfer: from each CPU a connection, whose bytes both sides know.
transfer() {
	for cpu in 0 1 2 3; do
		must taskset -c $cpu gt send tcp:10.1.0.1:5000 256 256 1
	done
}
# carried N: a transfer, after which each queue of the first N has been used.
carried() {
	gt queues eth0 >/tmp/before
	transfer
	gt queues eth0 >/tmp/after
	for queue in $(seq 0 $(($1 - 1))); do
		before=$(sed -n "s/^tx $queue //p" /tmp/before)
		after=$(sed -n "s/^tx $queue //p" /tmp/after)
		[ "${after:-0}" -gt "${before:-0}" ] || wrong "queue $queue: $before notifications, then $after"
	done
	ok "all of $1 queue pairs carry"
}

must ip link set lo up
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
pairs 4
meet "addresses"
carried 4
meet "a save"
pairs 4
carried 4
must gt pairs eth0 2
pairs 2
carried 2
must gt pairs eth0 1
carried 1
must gt pairs eth0 3
pairs 3
transfer
rebind virtio_net "$(device_of /sys/class/net/eth0)"
wait_for 10 test -e /sys/class/net/eth0
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
pairs 4
carried 4
echo "queues: done"
