#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eth0, which the host's kernel serves, with its buffers in memory that was plugged in after the start: what there was
# before is filled. Then bytes of a connection wait unread in it.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

mib_of() { awk "/^$1:/ { print int(\$2 / 1024) }" /proc/meminfo; }
before=$(mib_of MemTotal)
has_grown() { [ "$(mib_of MemTotal)" -ge $((before + 250)) ]; }
fill() { must dd if=/dev/zero of="/tmp/$1" bs=1M count="$2" 2>/dev/null; }
transfer() {
	must gt send tcp:10.1.0.1:5000 512 512 2
}

must mount -t tmpfs -o size=1g none /tmp
must sh -c 'echo online_kernel >/sys/devices/system/memory/auto_online_blocks'
must ip link set lo up
device=$(device_of /sys/class/net/eth0)
must sh -c "echo $device >/sys/bus/virtio/drivers/virtio_net/unbind"
fill old $(($(mib_of MemFree) - 16))
meet "small"
wait_for 60 has_grown
fill new 24
must sh -c "echo $device >/sys/bus/virtio/drivers/virtio_net/bind"
wait_for 10 test -e /sys/class/net/eth0
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
transfer
meet "full"
must gt send tcp:10.1.0.1:5000 0 48 1 held
transfer
echo "kernel net: done"
