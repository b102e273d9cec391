#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A machine that writes to its second disk until it finds that it was forked: fork.sh PAGE, the address of the VMClock
# page. A child says so, with a random number and the name that its metadata have, and whether its disk has all that was
# written by then; then it goes on in the same way, and may be forked again. The parent never stops.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh
page=$1
generation() { echo $(($(devmem $((page + 104)) 64))); }
block() { printf '%016d' "$1"; }
written=0

# The page is looked at behind each block, so that a child's first one is written by the child.
write_until_forked() {
	while [ "$(generation)" = "$1" ]; do
		written=$((written + 1))
		block $written | dd of=/dev/vdb bs=512 seek=$written count=1 conv=sync,notrunc,fsync 2>/dev/null ||
			wrong "block $written can't be written"
		[ $written != 5 ] || echo "ready: writing"
	done
}
check_disk() {
	must sh -c 'echo 3 >/proc/sys/vm/drop_caches'
	i=1
	while [ $i -le $written ]; do
		got=$(dd if=/dev/vdb bs=512 skip=$i count=1 2>/dev/null | head -c 16)
		[ "$got" = "$(block $i)" ] || wrong "block $i of $written is \"$got\""
		i=$((i + 1))
	done
}

name() {
	printf 'GET /name HTTP/1.1\r\n\r\n' | nc -w 20 169.254.169.254 80 | sed '1,/^\r$/d'
}

must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
must ip route add 169.254.169.254 dev eth0
[ "$(name)" = parent ] || wrong "the parent's name is \"$(name)\""
must dd if=/dev/urandom of=/dev/null bs=16 count=1 2>/dev/null
write_until_forked 0
for number in 1 2; do
	check_disk
	echo "name: $(name)"
	echo "child of $number: $(dd if=/dev/urandom bs=16 count=1 2>/dev/null | od -An -tx1 | tr -d ' ')"
	write_until_forked $number
done
