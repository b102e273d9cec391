#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks who includes whom: a layer sees only the layers below it. Prints each violation.
#
# One line per layer: the folder, then what its project includes may begin with. The first line
# whose folder matches a file counts. There is no list of exceptions, by policy.
set -u
cd "$(dirname "$0")/../.." || exit 1

layers='
vmm/base/       vmm/base/
vmm/confine/    vmm/confine/ vmm/base/ seccomp/
vmm/machine/    vmm/machine/ vmm/confine/ vmm/base/ arch/ devices/device.h devices/legacy/ devices/pci/ devices/platform/ devices/virtio/core/
vmm/debug/      vmm/debug/ vmm/machine/ vmm/base/ arch/
vmm/persist/    vmm/persist/ vmm/machine/ vmm/base/ vmm/version.h arch/ devices/device.h devices/legacy/ devices/platform/ devices/virtio/core/ devices/virtio/classes.h
vmm/control/    vmm/control/ vmm/debug/ vmm/machine/ vmm/confine/ vmm/base/ vmm/args.h arch/ devices/legacy/ devices/virtio/core/
vmm/resources/  vmm/resources/ vmm/persist/ vmm/control/ vmm/debug/ vmm/machine/ vmm/confine/ vmm/base/ vmm/version.h arch/ devices/
vmm/main.c      vmm/ api/ arch/ seccomp/
vmm/            vmm/ seccomp/
devices/        devices/ vmm/base/
arch/           arch/ vmm/base/
seccomp/        seccomp/ vmm/base/
api/            api/ vmm/resources/ vmm/control/process_metrics.h vmm/base/
tests/          tests/ vmm/ devices/ arch/ seccomp/ api/ tools/
tools/jailer/   tools/jailer/ vmm/base/ vmm/version.h
tools/snapshot_editor/ tools/snapshot_editor/ tools/lib/ vmm/persist/ vmm/base/ vmm/version.h arch/
tools/cpu_template_helper/ tools/cpu_template_helper/ tools/lib/ vmm/resources/ vmm/base/ vmm/version.h api/config_file.h arch/
tools/doctor/   tools/doctor/ tools/kvm_probe/ vmm/confine/landlock.h vmm/base/ arch/
tools/squibctl/ tools/squibctl/ tools/doctor/doctor.h tools/guest_init/ tools/lib/ vmm/base/ vmm/version.h devices/virtio/blk/blk_overlay_file.h
tools/lib/      tools/lib/ vmm/persist/durable.h vmm/base/
tools/guest_init/ tools/guest_init/ vmm/base/bytes.h
tools/          tools/ tests/guests/payload/ vmm/base/ vmm/version.h arch/ seccomp/
'

# Includes without a folder are a file beside, or the architecture's own by -Iarch/$(ARCH).
bad=0
# shellcheck disable=SC2046 # file names without spaces
grep -n '^#include "[^"]*/' $(git ls-files -co --exclude-standard '*.c' '*.h') | awk -v layers="$layers" '
BEGIN {
	count = split(layers, rows, "\n")
}
{
	split($0, part, "\"")
	file = $0
	sub(/:.*/, "", file)
	for (i = 1; i <= count; i++) {
		words = split(rows[i], word, " ")
		if (words > 0 && index(file, word[1]) == 1) break
	}
	ok = 0
	for (w = 2; w <= words; w++) ok = ok || index(part[2], word[w]) == 1
	if (!ok) {
		print file " includes " part[2] ", which its layer must not see"
		bad = 1
	}
}
END { exit bad }' || bad=1

# Architectures differ by files, never by conditionals in generic code.
if git grep -nE '#.*(__x86_64__|__aarch64__)' -- '*.c' '*.h' ':!arch'; then
	echo 'architecture conditionals belong into arch/'
	bad=1
fi

# Host addresses of guest memory stay where they can be checked.
if git grep -nw 'hva' -- '*.c' '*.h' ':!vmm/base/gmem*' ':!vmm/base/kvm.c' ':!devices/virtio/core/virtq.c' ':!tests'; then
	echo 'guest memory is reached through gmem only'
	bad=1
fi

# Rings need atomic accesses, and only one module knows how.
if git grep -nE '\bgmem_(ring_map|ring_marks|mark)\b' -- '*.c' ':!vmm/base/gmem.c' ':!devices/virtio/core/virtq.c' ':!tests'; then
	echo 'rings in guest memory are for devices/virtio/core/virtq.c alone'
	bad=1
fi

# All of KVM goes through the seam that tests can script.
if git grep -nE '\bioctl\(' -- vmm devices arch api ':!vmm/base/kvm_sys.c' | grep KVM_; then
	echo 'KVM ioctls go through vmm/base/kvm_sys.h'
	bad=1
fi
[ $bad = 0 ] && echo "layers: ok"
exit $bad
