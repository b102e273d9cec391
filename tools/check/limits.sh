#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks sizes: functions <= 100 lines, files <= 1000, headers <= 150, lines <= 100 columns, SPDX first.
set -u
cd "$(dirname "$0")/../.." || exit 1
bad=0
# shellcheck disable=SC2046 # file names without spaces
awk '
FNR == 1 {
	if (name != "" && lines > limit) fail(name ": " lines " lines, more than " limit)
	name = FILENAME
	limit = name ~ /\.h$/ ? 150 : 1000
	infn = 0
	if ($0 !~ /SPDX-License-Identifier: Apache-2.0/) fail(name ":1: no SPDX line")
}
{
	lines = FNR
	columns = 0
	parts = split($0, part, "\t")
	for (i = 1; i <= parts; i++) {
		columns += length(part[i])
		if (i < parts) columns += 8 - columns % 8
	}
	if (columns > 100) fail(name ":" FNR ": " columns " columns")
}
/^{/ { infn = 1; start = FNR }
/^}/ {
	if (infn && FNR - start - 1 > 100) fail(name ":" start ": a function of " FNR - start - 1 " lines")
	infn = 0
}
function fail(text) { print text; bad = 1 }
END {
	if (lines > limit) fail(name ": " lines " lines, more than " limit)
	exit bad
}' $(git ls-files -co --exclude-standard '*.c' '*.h') || bad=1
[ $bad = 0 ] && echo "limits: ok"
exit $bad
