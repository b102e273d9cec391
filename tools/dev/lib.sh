# lib.sh: what the tools share: errors, progress, the cache, Debian packages.
#
# Theory of operation. A tool that makes something slow makes it once: the product is a directory of the cache, named
# by the hash of everything it is made from, so a changed input has a new name and nothing is ever updated in place.
# cached() builds into a temporary directory beside it and renames that when it is complete; a lock makes a second
# builder wait for the first. An interrupted build leaves only a *.tmp, which the next one removes.
#
# shellcheck shell=bash

set -euo pipefail
# Of a user who is not root: mke2fs, modprobe and others are there.
PATH=$PATH:/usr/sbin:/sbin
# shellcheck disable=SC2034 # for those who read this file in
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
self=${0##*/}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/squib

die_status=1
die() { printf '%s: %s\n' "$self" "$*" >&2; exit $die_status; }

# Prints the head comment of the running script, which is its manual.
help() { awk 'NR > 1 && !/^#/ { exit } NR > 1 && !/SPDX-/ { sub(/^# ?/, ""); print }' "$0"; exit 0; }

# progress TEXT: on a terminal one line that is rewritten, elsewhere one line every ten seconds at most.
progress_last=-10
progress() {
    if [ -t 2 ]; then
        printf '\r\033[K%s: %s' "$self" "$*" >&2
    elif [ $((SECONDS - progress_last)) -ge 10 ]; then
        progress_last=$SECONDS
        printf '%s: %s\n' "$self" "$*" >&2
    fi
}
progress_end() { if [ -t 2 ]; then printf '\r\033[K' >&2; fi; }

# The machine's architecture in the kernel's words, and an architecture in Debian's.
host_arch() { uname -m; }
debian_arch() { case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac; }
need_arch() {
    case ${1:-} in
    x86_64 | aarch64) ;;
    *) die "the architecture must be x86_64 or aarch64, not '${1:-}' (see $self --help)" ;;
    esac
}

hash_of() { sha256sum | cut -c1-16; }

# cached KIND NAME BUILDER: sets $product to the cache's directory KIND/NAME; where it is missing, calls BUILDER, which
# fills the (empty) current directory.
cached() {
    local kind=$1 name=$2 builder=$3
    product=$cache/$kind/$name
    [ -d "$product" ] && return
    mkdir -p "$cache/$kind" || die "can't create the cache directory $cache/$kind; set XDG_CACHE_HOME to a writable one"
    exec {lock}>"$cache/$kind/$name.lock"
    if ! flock -n "$lock"; then
        printf '%s: waiting for another process that makes %s\n' "$self" "$product" >&2
        flock "$lock"
    fi
    if [ ! -d "$product" ]; then
        rm -rf "$product.tmp"
        mkdir "$product.tmp"
        # Not in a condition: set -e must stay in force inside the builder. Our stdout is for the result alone, and
        # nothing that the builder leaves running may keep the lock.
        (cd "$product.tmp" && "$builder") >&2 {lock}>&-
        mv "$product.tmp" "$product"
    fi
    rm -f "$cache/$kind/$name.lock"
    exec {lock}>&-
}

# resolve_package META ARCH: the package that the meta package META (of Debian's ARCH) stands for at this time.
resolve_package() {
    local found
    found=$(apt-cache depends "$1:$2" 2>/dev/null | awk '/Depends: linux-image/ { sub(/:.*/, "", $2); print $2; exit }')
    [ -n "$found" ] || die "apt knows no package $1:$2; run 'tools/dev/setup guest', which adds the architecture and the lists"
    echo "$found"
}

# package_version PACKAGES ARCH: the versions that fetch_package would fetch, one a line.
package_version() {
    local packages found
    read -ra packages <<<"$1"
    found=$(apt-cache show --no-all-versions "${packages[@]/%/:$2}" 2>/dev/null | awk '/^Version:/ { print $2 }')
    [ "$(wc -w <<<"$found")" = ${#packages[@]} ] ||
        die "apt knows not all of the packages $1 for $2; run 'tools/dev/setup guest', which adds the architecture and the lists"
    echo "$found"
}

# fetch_package PACKAGES ARCH DIR: downloads the packages and unpacks them into DIR, without installing them.
fetch_package() {
    local packages arch=$2 dir=$3 deb log
    read -ra packages <<<"$1"
    progress "fetching $1 for $arch"
    mkdir -p "$dir/deb"
    # apt warns about a directory that its own user can't enter; that is no failure.
    log=$(cd "$dir/deb" && apt-get -q download "${packages[@]/%/:$arch}" 2>&1) ||
        die "can't download $1 for $arch: $(grep '^E:' <<<"$log" | head -n 1); is the network up, are apt's lists fresh?"
    for deb in "$dir/deb"/*.deb; do
        dpkg -x "$deb" "$dir" || die "can't unpack ${deb##*/} into $dir"
    done
    rm -r "$dir/deb"
    progress_end
}

# take_libraries FILE: of the packages in packages/ puts the libraries that FILE needs into lib/, and those that they
# need; false: one is missing.
take_libraries() {
    local needed found
    for needed in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        [ ! -e "lib/$needed" ] || continue
        found=$(find packages/lib packages/usr/lib -path "*/$needed" | head -n 1)
        [ -n "$found" ] && take_libraries "$found" || return
        cp -L "$found" lib/
    done
}

# take_programs ARCH FILE...: of the packages in packages/ takes programs with loader and libraries, and makes for each a
# script of its name, by which it runs on a machine of that architecture without libraries.
take_programs() {
    local loader program name
    case $1 in
    x86_64) loader=ld-linux-x86-64.so.2 ;;
    aarch64) loader=ld-linux-aarch64.so.1 ;;
    esac
    mkdir -p bin lib
    cp "$(find packages -path "*/$loader" | head -n 1)" lib/
    for program in "${@:2}"; do
        name=${program##*/}
        cp "packages/$program" bin
        take_libraries "bin/$name" || die "Debian's packages have not all libraries that $name needs on $1"
        printf '#!/bin/sh\ndir=$(dirname "$0")\nexec "$dir/lib/%s" --library-path "$dir/lib" "$dir/bin/%s" "$@"\n' \
            "$loader" "$name" >"$name"
        chmod +x "$name"
    done
    rm -rf packages
}

# fetch_source PACKAGE VERSION DIR: unpacks the source of that version of a binary package into DIR, without Debian's
# patches. apt's lists have no sources as a rule, so it gets lists of its own here, from where its packages are.
fetch_source() {
    local package=$1 version=$2 dir=$3 own apt log
    progress "fetching the source of $package"
    mkdir -p "$dir/apt/"{parts,lists/partial,archives/partial}
    own=$(cd "$dir/apt" && pwd)
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        sort -u >"$own/parts/source.list"
    apt=(apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$own/parts"
        -o "Dir::State::Lists=$own/lists" -o "Dir::Cache::Archives=$own/archives"
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    # A package that was only built again ("+b1") is still of the same source.
    log=$(cd "$dir/apt" && "${apt[@]}" update 2>&1 &&
        "${apt[@]}" source --download-only "$package=${version%+b[0-9]*}" 2>&1) ||
        die "can't download the source of $package: $(grep '^E:' <<<"$log" | head -n 1); is the network up, are apt's lists fresh?"
    tar -xf "$dir/apt/"*.orig.tar.?z -C "$dir" --strip-components=1 || die "can't unpack the source of $package"
    rm -r "$dir/apt"
    progress_end
}
