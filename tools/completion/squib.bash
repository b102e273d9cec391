# SPDX-License-Identifier: Apache-2.0
# Completion of squib's and the jailer's command lines for bash. The flags are those that --help prints.
# shellcheck shell=bash disable=SC2207 # flags have no spaces

_squib() {
	local word=$2 before=$3 help value
	help=$("$1" --help 2>/dev/null) || return
	# Lines of the help: "  --flag VALUE   text".
	value=$(awk -v flag="$before" '$1 == flag && $2 ~ /^[A-Z]+$/ { print $2; exit }' <<<"$help")
	COMPREPLY=()
	case $value in
	PATH) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")) ;;
	DIR) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$word")) ;;
	LEVEL) COMPREPLY=($(compgen -W "Off Error Warn Info Debug Trace" -- "$word")) ;;
	'') COMPREPLY=($(compgen -W "$(awk '/^  --/ { print $1 }' <<<"$help")" -- "$word")) ;;
	esac
}
_jailer() { _squib "$@"; }
complete -F _squib squib
complete -F _jailer jailer
