#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks the comments of the seccomp policies: every file and function that they name is there. Prints
# each that is not. The lists of calls in docs/seccomp.md must be those of the policies.
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
# The lists of docs/seccomp.md, where "(x)" and what it may say stand behind a call.
for thread in vmm api vcpu; do
	told=$(sed -n "s/^| \`$thread\` | [a-z]/&/p" docs/seccomp.md | sed "s/^| \`$thread\`//; s/([^)]*)//g" | grep -oE '[a-z_0-9]+' | sort -u)
	allowed=$(awk -v begin="\"$thread\": {" 'index($0, begin) { on = 1; next } /^    "/ { on = 0 } on' seccomp/x86_64.json |
		grep -oE '"syscall": "[a-z_0-9]+"' | cut -d'"' -f4 | sort -u)
	if [ -z "$told" ] || [ "$told" != "$allowed" ]; then
		echo "docs/seccomp.md has another list for $thread than seccomp/x86_64.json:"
		printf '%s\n' "$told" "$allowed" | sort | uniq -u
		bad=1
	fi
done
[ $bad = 0 ] && echo "policies: ok"
exit $bad
