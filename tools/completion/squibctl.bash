# SPDX-License-Identifier: Apache-2.0
# Completion of squibctl's command line for bash. Commands and options are those of --help; the
# paths are those of the API.
# shellcheck shell=bash disable=SC2207 # words have no spaces

_squibctl_paths='/ /version /vm /vm/config /machine-config /boot-source /serial /logger /metrics /actions
	/devices /fork /snapshot /snapshot/create /snapshot/load /snapshot/working-set /hotplug/memory /memory /memory/dirty /memory/mappings'

# Machines that have names.
_squibctl_names() {
	"$1" ps --all 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_squibctl() {
	local word=$2 before=$3 help seen i
	help=$("$1" --help 2>/dev/null) || return
	COMPREPLY=()
	case $before in
	-s | --socket | --vsock | --uffd | --working-set | --base | --state | --memory | --listens | --kernel | -v | --volume)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word"))
		return
		;;
	esac
	case $before in
	-m | --machine)
		COMPREPLY=($(compgen -W "$(_squibctl_names "$1")" -- "$word"))
		return
		;;
	esac
	case $word in
	-*)
		COMPREPLY=($(compgen -W "$(grep -oE -- '--[a-z-]+' <<<"$help")" -- "$word"))
		return
		;;
	@*)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -P @ -f -- "${word#@}"))
		return
		;;
	esac
	# The command, if it is on the line already.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket | -m | --machine | --drive | --pmem | --net | --vsock | --uffd | --working-set | -n | --count | --name | --keep | --image | --base | --size | --cluster | --state | --memory | --listens | \
			--cpus | --disk | --kernel | -v | --volume | -p | --publish | -e | --env | -u | --user | --workdir | --entrypoint | --timeout | --boot-timeout | --signal | --older) i=$((i + 1)) ;;
		-*) ;;
		*) seen=${COMP_WORDS[i]} && break ;;
		esac
	done
	case ${seen:-} in
	'') COMPREPLY=($(compgen -W "$(awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }' <<<"$help")" -- "$word")) ;;
	exec | attach | logs | kill | wait | rm | inspect | stop | stats | top | status | pause | resume | metrics)
		[ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "$(_squibctl_names "$1")" -- "$word"))
		;;
	cp)
		compopt -o filenames -o nospace 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word") $(compgen -S : -W "$(_squibctl_names "$1")" -- "$word"))
		;;
	mem) [ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "show set" -- "$word")) ;;
	metadata) [ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "get set edit" -- "$word")) ;;
	overlay)
		[ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "create inspect flatten" -- "$word"))
		[ "$before" = "$seen" ] || compopt -o filenames 2>/dev/null
		[ "$before" = "$seen" ] || COMPREPLY=($(compgen -f -- "$word"))
		;;
	pool)
		[ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "start take status stop" -- "$word"))
		[ "$before" = "$seen" ] || compopt -o filenames 2>/dev/null
		[ "$before" = "$seen" ] || COMPREPLY=($(compgen -d -- "$word"))
		;;
	exec | logs | stop | kill | wait | rm | inspect)
		[ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "$("$1" ps --all 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$word"))
		;;
	run | pull)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word"))
		;;
	snapshot | load | fork)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word"))
		;;
	get | put | patch | delete)
		[ "$before" != "$seen" ] || COMPREPLY=($(compgen -W "$_squibctl_paths" -- "$word"))
		;;
	esac
}
complete -F _squibctl squibctl
