#!/usr/bin/env bash
# The pipeline in shell: scripts/flamegraph.sh [OPTIONS] RECORDING > out.svg
#
# RECORDING is what `flamegraph --perfdata` takes, OPTIONS are those of flamegraph that are not about recording, and the
# graph is the same, byte for byte: each option goes to the stage it is about. -o FILE writes to a file.
set -euo pipefail

usage() {
    echo "flamegraph.sh: $1" >&2
    sed -n '2s/^# //p' "$0" >&2
    exit 2
}

script=() fold=() filter=() post=() render=() recording='' chart=
# fg-render, as inferno's, has other titles with -i and --flamechart; flamegraph has one.
title='Flame Graph'

while (($#)); do
    # --option=value and -ovalue become two words.
    case $1 in
        --?*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        -o?*) set -- -o "${1:2}" "${@:2}" ;;
    esac
    case $1 in
        --no-inline) script+=("$1") ;;
        --strict) script+=("$1") fold+=("$1") render+=("$1") ;;
        --merge-threads) fold+=("$1") ;;
        --deterministic | -i | --inverted | --reverse | --no-embed) render+=("$1") ;;
        --flamechart) chart=1 render+=("$1") ;;
        -?*)
            (($# > 1)) || usage "what is $1?"
            case $1 in
                --skip-after | --event-filter | --weight | --split) fold+=("$1=$2") ;;
                --preset) filter+=("$1=$2") ;;
                --post-process)
                    # Shell words, not a shell's line: xargs splits without expanding anything.
                    post=()
                    while IFS= read -r -d '' word; do post+=("$word"); done < <(xargs printf '%s\0' <<<"$2")
                    ((${#post[@]})) || usage "--post-process '$2' is no command"
                    ;;
                --title) title=$2 ;;
                --subtitle | --notes) render+=("$1=$2") ;;
                --min-width) render+=("--minwidth=$2") ;;
                --image-width) render+=("--width=$2") ;;
                --palette) render+=("--colors=$2") ;;
                -o | --output) render+=("--output=$2") ;;
                *) usage "what is $1?" ;;
            esac
            shift
            ;;
        *)
            [[ -z $recording ]] || usage "one recording, please"
            recording=$1
            ;;
    esac
    shift
done
[[ $recording ]] || usage "which recording?"
[[ -r $recording ]] || {
    echo "flamegraph.sh: cannot read $recording" >&2
    exit 1
}

# An empty array is an unset one to macOS's bash 3.2, hence ${a[@]+…}.
samples() {
    case $(LC_ALL=C head -c 8 "$recording" | tr -d '\0') in
        PERFILE2 | 2ELIFREP) fg-script ${script[@]+"${script[@]}"} "$recording" ;;
        # fg-fold tells all other formats apart.
        *) cat "$recording" ;;
    esac
}

presets() {
    ((${#filter[@]})) || { cat && return; }
    fg-filter -q "${filter[@]}"
}

# The unit, `# unit: ns 0`, is for fg-render: it goes around the program.
post_process() {
    ((${#post[@]})) || { cat && return; }
    IFS= read -r first || true
    case $first in
        '# unit: '*) printf '%s\n' "$first" && "${post[@]}" ;;
        *) { [[ -z $first ]] || printf '%s\n' "$first"; cat; } | "${post[@]}" ;;
    esac
}

if [[ $chart ]]; then
    # In the order of time nothing is folded.
    ((${#fold[@]} + ${#filter[@]} + ${#post[@]} == 0)) ||
        usage 'a flame chart is drawn of samples: no --skip-after, --strict, --preset or --post-process'
    samples | fg-render --title="$title" ${render[@]+"${render[@]}"}
    exit
fi
samples | fg-fold ${fold[@]+"${fold[@]}"} | presets | post_process | fg-render --title="$title" ${render[@]+"${render[@]}"}
