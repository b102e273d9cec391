#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that every header compiles alone: $1 compiler command, $2 architecture.
set -u
cd "$(dirname "$0")/../.." || exit 1
compiler=${1:-gcc}
arch=${2:-x86_64}
bad=0
for header in $(git ls-files -co --exclude-standard '*.h'); do
	case $header in
	tests/eva/*) continue ;; # of Frama-C's own language
	arch/x86_64/* | tests/guests/payload/x86_64/* | tests/unit/x86_64/*) [ "$arch" = x86_64 ] || continue ;;
	arch/aarch64/* | tests/guests/payload/aarch64/* | tests/unit/aarch64/*) [ "$arch" = aarch64 ] || continue ;;
	esac
	# shellcheck disable=SC2086 # a compiler with its options
	if ! $compiler -std=gnu17 -I. "-Iarch/$arch" -D_GNU_SOURCE -Wall -Wextra -Werror \
		-Wno-unused-function -fsyntax-only -x c "$header"; then
		echo "$header does not compile on its own"
		bad=1
	fi
done
[ $bad = 0 ] && echo "headers ($arch): ok"
exit $bad
