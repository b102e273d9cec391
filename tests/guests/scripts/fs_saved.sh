#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Files of a file system that another process serves are open while the machine is saved and loaded.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

# Both files are what they should be, by the descriptors that are open since before.
check() {
	echo "$1" >&3 || wrong "the log can't be written to"
	read -r line <&4 || wrong "no more lines"
	[ "$line" = "$1" ] || wrong "the next line is '$line', not '$1'"
	must gt pattern check /kept/folder/file 0 65536 5
}

must mount -t virtiofs shared /kept
must mkdir /kept/folder
must gt pattern write /kept/folder/file 0 65536 5
printf 'one\ntwo\nthree\n' >/kept/lines
exec 3>>/kept/log 4</kept/lines
cd /kept/folder || wrong "no folder"
check one
meet "saved"
check two
meet "loaded"
check three
echo 3 >/proc/sys/vm/drop_caches
must gt pattern check file 0 65536 5
must mv file moved
exec 3>&- 4<&-
[ "$(tr '\n' ' ' </kept/log)" = "one two three " ] || wrong "the log has '$(cat /kept/log)'"
cd /
must umount /kept
echo "fs: done"
