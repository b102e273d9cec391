# SPDX-License-Identifier: Apache-2.0
# lib.sh: what the guest's scripts share. The host reads the console: a line with "WRONG:" fails the
# test at once, "ok: NAME" and "ready: NAME" are what it waits for.
#
# shellcheck shell=dash disable=SC1091,SC2012

wrong() { echo "WRONG: $*"; exit 1; }
ok() { echo "ok: $*"; }

# must COMMAND...: ends the script where the command fails; its own words are on the console.
must() { "$@" || wrong "failed: $*"; }
must_fail() { ! "$@" 2>/dev/null || wrong "succeeded: $*"; }

# meet NAME: tells the host, and waits until it types a line.
meet() {
	echo "ready: $1"
	read -r _
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	left=$(($1 * 10))
	shift
	until "$@" 2>/dev/null; do
		left=$((left - 1))
		[ $left -gt 0 ] || wrong "timed out: $*"
		usleep 100000
	done
}

# devices_of DRIVER: the names of its devices, as virtio3.
devices_of() { (cd "/sys/bus/virtio/drivers/$1" && echo virtio*); }

# device_of /sys/class/net/eth0: the name of the virtio device below.
device_of() { basename "$(readlink -f "$1/device")"; }

# rebind DRIVER DEVICE
rebind() {
	must sh -c "echo $2 >/sys/bus/virtio/drivers/$1/unbind"
	[ ! -e "/sys/bus/virtio/drivers/$1/$2" ] || wrong "$2 is still bound"
	must sh -c "echo $2 >/sys/bus/virtio/drivers/$1/bind"
	[ -e "/sys/bus/virtio/drivers/$1/$2" ] || wrong "$2 is not bound again"
}

# load_disk DISK SEED OPTION...: two threads of fio, on CPUs and queues of their own, write and read at random, and check
# all that they wrote. Each load of a disk has another seed: what an earlier one has left is wrong then.
load_disk() {
	disk=$1 seed=$2
	shift 2
	fio --name=load --filename="/dev/$disk" --size=1m --numjobs=2 --offset_increment=4m --rw=randrw \
		--bsrange=512-64k --fsync=32 --randseed="$seed" --verify=crc32c --verify_backlog=32 --verify_fatal=1 \
		--cpus_allowed=0-1 --cpus_allowed_policy=split --eta=never "$@" >"/tmp/fio-$disk" 2>&1 ||
		wrong "fio on $disk: $*: $(grep -v 'multiple writers' "/tmp/fio-$disk" | grep -m 1 -E 'verify|fio:')"
	echo "$disk: $*:" "$(grep -o 'total=[^ ]*' "/tmp/fio-$disk")"
}
takes_discards() { [ "$(cat "/sys/block/$1/queue/discard_max_bytes")" -gt 0 ]; }
