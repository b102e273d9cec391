# SPDX-License-Identifier: Apache-2.0
# Completion of snapshot-editor's command line for bash: commands and their flags are those of --help.
# shellcheck shell=bash disable=SC2207 # words have no spaces

_snapshot_editor() {
	local word=$2 before=$3 usages words line
	# Lines of the help: "  COMMAND [COMMAND] --flag VALUE [--flag VALUE]".
	usages=$("$1" --help 2>/dev/null | sed -n 's/^  \([a-z].*\)/\1/p') || return
	COMPREPLY=()
	case $COMP_CWORD in
	1) COMPREPLY=($(compgen -W "$(awk '{ print $1 }' <<<"$usages" | sort -u) --help --version" -- "$word")) && return ;;
	2)
		words=$(awk -v first="${COMP_WORDS[1]}" '$1 == first && $2 !~ /^[[-]/ { print $2 }' <<<"$usages")
		[ -z "$words" ] || { COMPREPLY=($(compgen -W "$words" -- "$word")) && return; }
		;;
	esac
	case $before in
	--level | -l) return ;;
	--*-path | --key | -[mdvocsk])
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word"))
		return
		;;
	esac
	line=$(grep -E "^${COMP_WORDS[1]}( ${COMP_WORDS[2]})? [[-]" <<<"$usages" | head -n 1)
	COMPREPLY=($(compgen -W "$(grep -oE -- '--[a-z-]+' <<<"$line")" -- "$word"))
}
complete -F _snapshot_editor snapshot-editor
