#compdef squib squibctl jailer snapshot-editor cpu-template-helper
# SPDX-License-Identifier: Apache-2.0
# Completion of squib's programs for zsh. squibctl itself says what can stand at the cursor; for the others the
# completions for bash do, which read --help.

_squib_lines() { # LINE...: a word each, with a tab and a description
	local line tab=$'\t'
	local -a found
	for line; do
		case $line in
		:files) compset -P @ || true; _files ;;
		:directories) _files -/ ;;
		?*) found+=("${${line//:/\\:}/$tab/:}") ;;
		esac
	done
	((! $#found)) || _describe word found
}

local program=${words[1]} file
if [[ ${program:t} == squibctl ]]; then
	_squib_lines "${(@f)$($program __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"
else
	file=${${:-$(whence -p $program)}:A:h:h}/share/bash-completion/completions/${program:t}
	_squib_lines "${(@f)$(bash -c '. "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		"_$(basename "$1" | tr - _)" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		printf "%s\n" "${COMPREPLY[@]}"' $file "${(@Q)words[1,CURRENT]}" 2>/dev/null)}"
fi
