#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Files that were told of before the monitor was killed are there, then more are written:
# crash.sh NEXT, the number of the first one that was not told.
#
# shellcheck shell=dash disable=SC1091,SC2012
. /tests/lib.sh
grep -q ' / ext4 rw' /proc/mounts || wrong "the root is not a writable ext4"
grep -q 'root=PARTUUID=' /proc/cmdline || wrong "the root is not a partition by its UUID"
[ "$1" = 0 ] || must gt kept /kept $(($1 - 1))
ok "kept files"
[ -z "${2:-}" ] || exit 0
gt keep /kept "$1"
