# SPDX-License-Identifier: Apache-2.0
# Completion of snapshot-editor's and cpu-template-helper's command lines for bash: commands, their flags and what these
# take are those of --help.
# shellcheck shell=bash disable=SC2207 # words have no spaces

_squib_command() {
	local program=$1 word=$2 before=$3 usages words line value
	# Lines of the help: "  COMMAND [COMMAND] --flag VALUE [--flag VALUE...] [OPERANDS...]".
	usages=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z].*\)/\1/p') || return
	COMPREPLY=()
	case $COMP_CWORD in
	1) COMPREPLY=($(compgen -W "$(awk '{ print $1 }' <<<"$usages" | sort -u) --help --version" -- "$word")) && return ;;
	2)
		words=$(awk -v first="${COMP_WORDS[1]}" '$1 == first && $2 ~ /^[a-z]/ { print $2 }' <<<"$usages")
		[ -z "$words" ] || { COMPREPLY=($(compgen -W "$words" -- "$word")) && return; }
		;;
	esac
	line=$(grep -E "^${COMP_WORDS[1]}( ${COMP_WORDS[2]})? [[A-Z-]" <<<"$usages" | head -n 1)
	# A flag by its name or by its first letter; else an operand.
	case $before in
	--*) value=$(grep -oE -- "$before [A-Z]+" <<<"$line") ;;
	-[a-z]) value=$(grep -oE -- "-$before[a-z-]* [A-Z]+" <<<"$line") ;;
	*) [ "${word:0:1}" = - ] || value=$(grep -oE ' FILES\.\.\.$' <<<"$line") ;;
	esac
	case $value in
	*PATH | *FILES*)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word"))
		;;
	*FIELD)
		COMPREPLY=($(compgen -W "firecracker_version kernel_version microcode_version bios_version bios_revision \
			guest_cpu_config" -- "$word"))
		;;
	?*) ;; # a number, a suffix
	*) COMPREPLY=($(compgen -W "$(grep -oE -- '--[a-z-]+' <<<"$line")" -- "$word")) ;;
	esac
}
_snapshot_editor() { _squib_command "$@"; }
_cpu_template_helper() { _squib_command "$@"; }
complete -F _snapshot_editor snapshot-editor
complete -F _cpu_template_helper cpu-template-helper
