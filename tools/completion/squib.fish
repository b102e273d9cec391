# SPDX-License-Identifier: Apache-2.0
# Completion of squib's programs for fish. squibctl itself says what can stand at the cursor; for the others the
# completions for bash do, which read --help.

function __squibctl_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l word (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        switch $line
            case :files
                if string match -q '@*' -- $word
                    for file in (__fish_complete_path (string sub -s 2 -- $word))
                        echo "@$file"
                    end
                else
                    __fish_complete_path $word
                end
            case :directories
                __fish_complete_directories $word
            case '*'
                echo $line
        end
    end
end

function __squib_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l file (path dirname (path dirname (command -s $words[1])))/share/bash-completion/completions/(path basename $words[1])
    bash -c '. "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        "_$(basename "$1" | tr - _)" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf "%s\n" "${COMPREPLY[@]}"' $file $words 2>/dev/null
end

complete -c squibctl -f -a '(__squibctl_complete)'
for program in squib jailer snapshot-editor cpu-template-helper
    complete -c $program -f -a '(__squib_complete)'
end
