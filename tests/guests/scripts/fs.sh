#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two file systems that other processes of the host serve: the root, and "shared", whose process ends.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

grep -q '^[^ ]* / virtiofs ro' /proc/mounts || wrong "the root is $(grep ' / ' /proc/mounts)"
must_fail touch /new
ok "root"

must mount -t virtiofs shared /kept
[ "$(cat /kept/from_host)" = "host's" ] || wrong "from_host has '$(cat /kept/from_host)'"
must gt pattern write /kept/file 0 8192 5
must mkdir /kept/folder
must mv /kept/file /kept/folder/file
must sync
meet "written"
wait_for 10 test -e /kept/answer
echo 3 >/proc/sys/vm/drop_caches
must gt pattern check /kept/folder/file 0 8192 5
must umount /kept
ok "shared"

rebind virtiofs virtio1
must mount -t virtiofs shared /kept
must gt pattern check /kept/folder/file 0 8192 5
must umount /kept
ok "unbound and bound"

meet "back-end to end"
[ "$(head -c 9 /tests/fs.sh)" = "#!/bin/sh" ] || wrong "the root is gone"
ok "the root goes on"
echo "fs: done"
