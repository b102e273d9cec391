# SPDX-License-Identifier: Apache-2.0
# Completion of squibctl's command line for bash: squibctl itself says what can stand at the cursor.
# shellcheck shell=bash disable=SC2207 # words have no spaces

_squibctl() {
	local word=$2 line words at='' IFS=$'\n'
	# COMP_WORDS is split at "=", ":" and "@", too.
	IFS=' ' read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
	[[ ${COMP_LINE:COMP_POINT-1:1} != ' ' ]] || words+=('')
	[[ $word != @* ]] || at=@
	COMPREPLY=()
	while read -r line; do
		case $line in
		:files)
			compopt -o filenames 2>/dev/null
			COMPREPLY+=($(compgen -P "$at" -f -- "${word#"$at"}"))
			;;
		:directories)
			compopt -o filenames 2>/dev/null
			COMPREPLY+=($(compgen -d -- "$word"))
			;;
		*:$'\t'*) # of a machine, a path comes next
			compopt -o nospace 2>/dev/null
			COMPREPLY+=("${line%%$'\t'*}")
			;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done < <("$1" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _squibctl squibctl
