#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks the comments of the seccomp policies: every file and function that they name is there. Prints
# each that is not. Both architectures must have the same filters with the same number of them.
set -u
cd "$(dirname "$0")/../.." || exit 1

bad=0
for policy in seccomp/*.json; do
	# What a rule's comment names as path/file.c or path/file.c:function.
	names=$(sed -n 's/.*"syscall": "[^"]*", "comment": "\([^"]*\)".*/\1/p' "$policy" |
		grep -oE '[a-z0-9_/]+\.c(:[a-z0-9_]+)?' | sort -u)
	for name in $names; do
		file=${name%%:*}
		function=${name#"$file"}
		function=${function#:}
		if [ ! -f "$file" ]; then
			echo "$policy names $file, which is not there"
			bad=1
		elif [ -n "$function" ] && ! grep -qE "^[a-z].*\b$function\(" "$file"; then
			echo "$policy names $function in $file, which is not there"
			bad=1
		fi
	done
	if grep '"syscall"' "$policy" | grep -qvE '"comment": "([a-z0-9_/]+\.c|glibc: )'; then
		echo "$policy has rules that do not say what needs them:"
		grep '"syscall"' "$policy" | grep -vE '"comment": "([a-z0-9_/]+\.c|glibc: )'
		bad=1
	fi
done
[ $bad = 0 ] && echo "policies: ok"
exit $bad
