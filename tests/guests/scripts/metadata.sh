#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The metadata service: metadata.sh V1|V2. It is on eth0 (10.1.0.x), not on eth1 (10.2.0.x).
# Version 1 is at an address of its own, and answers as EC2's service does.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

address=169.254.169.254
[ "$1" = V2 ] || address=169.254.170.2
token=

# ask METHOD PATH [HEADER...]: the whole answer. The service ends the connection as it sees our end. Debian's static
# busybox has a wget that crashes.
ask() {
	{
		printf '%s /%s HTTP/1.1\r\n' "$1" "$2"
		shift 2
		printf '%s\r\n' "$@" ''
	} | nc -w 20 $address 80
}
body() { sed '1,/^\r$/d'; }
# says PATH ANSWER [TYPE]
says() {
	got=$(ask GET "$1" "X-metadata-token: $token" "Accept: ${3:-*/*}" | body)
	[ "$got" = "$2" ] || wrong "/$1 is \"$got\", not \"$2\""
}
# answers STATUS METHOD PATH [HEADER...]
answers() {
	status=$1
	shift
	got=$(ask "$@" | head -n 1)
	case $got in "HTTP/1.1 $status "*) ;; *) wrong "$1 /$2 is answered \"$got\", not $status" ;; esac
}
counted() { cat "/sys/class/net/eth0/statistics/$1"; }

must ip link set lo up
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
must ip link set eth1 up
must ip addr add 10.2.0.2/24 dev eth1
must ip route add $address dev eth0

if [ "$1" = V1 ]; then
	list="ami-id
tags/"
	says latest/meta-data "$list"
	says latest/meta-data "$list" application/json
	says latest/meta-data/ami-id ami-1
	answers 404 GET latest/nothing
	answers 200 PUT latest/api/token "X-metadata-token-ttl-seconds: 60"
	echo "metadata: done"
	exit
fi

answers 401 GET latest
answers 401 GET latest "X-metadata-token: none"
answers 400 PUT latest/api/token "X-metadata-token-ttl-seconds: 0"
token=$(ask PUT latest/api/token "X-metadata-token-ttl-seconds: 600" | body)
[ ${#token} -gt 40 ] || wrong "the token is \"$token\""
says latest/meta-data/ami-id ami-1
says latest/meta-data/tags/ role
says latest/meta-data '{"ami-id":"ami-1","tags":{"role":"web"}}' application/json
says list '[1,2]' application/json
says list/1 2 application/json
answers 501 GET list "X-metadata-token: $token"
answers 404 GET latest/nothing "X-metadata-token: $token"
ok "answers"

seq -w 1 65536 | tr '\n' , >/tmp/big
ask GET big "X-metadata-token: $token" | body | cmp - /tmp/big || wrong "384 KiB came as other bytes"
ok "384 KiB"
meet "to be patched"
says latest/meta-data/tags '{"zone":"a"}' application/json
ok "patched"

must ip route change $address dev eth1
got=$(ask GET latest "X-metadata-token: $token" 2>/dev/null)
[ -z "$got" ] || wrong "eth1 has the service: \"$got\""
must ip route change $address dev eth0
ok "eth1 has no answer"

# 200 connections, four at a time, while streams both ways take all that there is.
iperf3 -c 10.1.0.1 -t 250 --bidir >/tmp/iperf3 2>&1 &
stream=$!
mark() { sent=$(counted tx_bytes) got=$(counted rx_bytes); }
flows() { [ "$(counted tx_bytes)" -gt $((sent + 1000000)) ] && [ "$(counted rx_bytes)" -gt $((got + 1000000)) ]; }
ask_fifty() {
	for _ in 0 1 2 3 4 5 6 7 8 9; do
		for _ in 0 1 2 3 4; do
			got=$(ask GET latest/meta-data/ami-id "X-metadata-token: $token" | body)
			[ "$got" = ami-1 ] || echo "wrong: $got"
		done
	done
}
mark
wait_for 30 flows
for i in 1 2 3 4; do
	ask_fifty >/tmp/asked$i 2>&1 &
	eval "asker$i=\$!"
done
# shellcheck disable=SC2154 # set by eval
wait "$asker1" "$asker2" "$asker3" "$asker4"
[ -z "$(cat /tmp/asked*)" ] || wrong "$(cat /tmp/asked* | grep -c wrong) of 200 connections had no answer"
mark
wait_for 30 flows
kill $stream || wrong "the streams ended before: $(tail -n 1 /tmp/iperf3)"
wait $stream
ok "200 connections amid streams"

rebind virtio_net "$(device_of /sys/class/net/eth0)"
wait_for 10 test -e /sys/class/net/eth0
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
must ip route add $address dev eth0
says latest/meta-data/ami-id ami-1
meet "all asked"
echo "metadata: done"
