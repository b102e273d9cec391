#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Virtio sockets and entropy.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh

# Many bytes through few connections, few through many, both ways round.
must gt send vsock:2:7000 1024 1024 3
must gt send vsock:2:7001 2 2 100
ok "vsock to the host"
gt serve vsock:7002 3 &
meet "serving vsock"
wait
gt serve vsock:7003 100 &
meet "serving vsock 100 times"
wait
rebind vmw_vsock_virtio_transport "$(devices_of vmw_vsock_virtio_transport)"
must gt send vsock:2:7004 256 256 2
ok "vsock was unbound and bound"

random() { dd if=/dev/hwrng bs=512 count=32 2>/dev/null | md5sum; }
try_random() {
	grep -q virtio_rng /sys/class/misc/hw_random/rng_current || wrong "no virtio_rng"
	[ "$(dd if=/dev/hwrng bs=512 count=32 2>/dev/null | wc -c)" = 16384 ] || wrong "too few bytes of /dev/hwrng"
	[ "$(random)" != "$(random)" ] || wrong "/dev/hwrng repeats itself"
}
try_random
rebind virtio_rng "$(devices_of virtio_rng)"
try_random
ok "entropy"
echo "sockets: done"
