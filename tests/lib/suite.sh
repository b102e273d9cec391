# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034 # what suites read
# For suites of programs: a directory of their own, checks that are counted, a squib.
#
# The suite sets `build`. Busybox must do for all tools.
passed=0 failed=0 skipped=0
status=0
squib=
dir=$(mktemp -d)
cd "$dir" || exit 1

# shellcheck disable=SC2317 # by trap
cleanup() {
	[ -z "$squib" ] || kill -KILL "$squib" 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT

judge() { # NAME OK
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "ok    $1"
	else
		failed=$((failed + 1))
		echo "FAIL  $1: status $status, printed:"
		cat out
	fi
}

# check NAME STATUS PATTERN COMMAND...: the command ends with STATUS and prints PATTERN (an extended
# regular expression); with an empty one, nothing.
check() {
	name=$1 wanted=$2 pattern=$3
	shift 3
	status=0
	"$@" >out 2>&1 </dev/null || status=$?
	if [ -z "$pattern" ]; then
		[ "$status" = "$wanted" ] && [ ! -s out ]
	else
		[ "$status" = "$wanted" ] && grep -qE -- "$pattern" out
	fi
	judge "$name" $?
}

skip() {
	skipped=$((skipped + 1))
	echo "skip  $1: $2"
}

ctl() { "$build/squibctl" -s api.sock "$@"; }

start_squib() { # FILE: where its console goes
	rm -f api.sock
	"$build/squib" --api-sock api.sock --log-path log --level Error </dev/null >"$1" 2>&1 &
	squib=$!
	tries=0
	until [ -S api.sock ]; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { echo "FAIL  squib makes no socket" && cat "$1" && exit 1; }
		sleep 0.1
	done
}

end_squib() {
	kill -KILL "$squib"
	wait "$squib" 2>/dev/null
	squib=
}

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ $failed = 0 ]
}
