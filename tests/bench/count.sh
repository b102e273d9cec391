# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What boot_count and devices_count have in common: sourced, inside tools/dev/nest -c. Everything that runs is copied to
# $dir, a tmpfs, since the host's files come through 9p, whose waiting is counted.
#
# The environment: BUILD (of squib), KERNEL_DIR and IMAGE_DIR name files. BENCH_PEERS=none leaves squib alone.
# BENCH_MONITORS names a file of further monitors, one a line: NAME, COMMAND and optionally CONFIGURATION, separated by
# tabs. In the command and in the configuration, a file, words stand for what every monitor gets:
#
#   @kernel@ @initrd@   files: vmlinux, and an archive
#   @cmdline@           the kernel's command line but for the way to reset, as one word in a shell's double quotes
#   @disk@ @tap@        a file of 16 MiB, and the name of a TAP with vnet_hdr
#   @vsock@             the path of a Unix socket, in Firecracker's protocol
#   @mem@               MiB of memory
#   @config@            (command) the configuration, with its words replaced; without one squib's own
set -euo pipefail
dir=/run/bench
mem=128
cmdline="console=ttyS0 panic=1 quiet nomodule swiotlb=noforce 8250.nr_uarts=1 squib.end=reboot"
commands=()

mkdir -p "$dir/lib"
# What every process may look up: it is copied into the overlay's tmpfs.
localtime=$(mktemp -p "$dir")
cp -L /etc/localtime "$localtime" && rm /etc/localtime && cp "$localtime" /etc/localtime

has_peers() { [ "${BENCH_PEERS:-}" != none ]; }

# QEMU with its libraries; its linker is told where they are.
qemu=("$dir/lib/ld-linux-x86-64.so.2" --library-path "$dir/lib" "$dir/qemu" -L "$dir")
if has_peers; then
	program=$(command -v qemu-system-x86_64)
	cp "$program" "$dir/qemu"
	ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | xargs -I{} cp -L {} "$dir/lib/"
	cp -rL /usr/share/qemu/{qboot.rom,bios-microvm.bin,linuxboot_dma.bin,pvh.bin,kvmvapic.bin} "$dir/" 2>/dev/null || true
fi

# fill TEXT CMDLINE TAP CONFIG: the text with its words replaced.
fill() {
	local text=$1
	text=${text//@kernel@/$dir/vmlinux}
	text=${text//@initrd@/$dir/initrd.cpio}
	text=${text//@cmdline@/$2}
	text=${text//@disk@/$dir/disk}
	text=${text//@tap@/$3}
	text=${text//@vsock@/$dir/vsock}
	text=${text//@mem@/$mem}
	printf '%s\n' "${text//@config@/$4}"
}

# further CMDLINE TAP CONFIG: adds the monitors of BENCH_MONITORS; CONFIG is squib's.
further() {
	local name command config program own number=0
	[ -n "${BENCH_MONITORS:-}" ] || return 0
	while IFS=$'\t' read -r name command config; do
		[[ $name && $name != '#'* ]] || continue
		number=$((number + 1)) own=$3
		program=${command%% *}
		cp -L "$program" "$dir/monitor-$number"
		if [ -n "$config" ]; then
			own=$dir/monitor-$number.config
			fill "$(cat "$config")" "$1" "$2" "" >"$own"
		fi
		commands+=(-- "$name" /bin/sh -c "exec $(fill "$dir/monitor-$number${command#"$program"}" "$1" "$2" "$own")")
	done <"$BENCH_MONITORS"
}
