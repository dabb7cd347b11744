#!/bin/sh
# Imports run one way (docs/architecture.md): bin -> tools -> {rollout, formats, machine, words};
# rollout -> {formats, words}; formats -> words; machine -> words; a tool imports no other tool but
# what they share; cli and decide never import machine. Prints what breaks that, and fails.
cd "$(dirname "$0")/.." || exit 1
broken=0

# forbid WHAT WHERE...: no line of those files may name `crate::WHAT` (WHAT is a regular expression).
forbid() {
    what=$1
    shift
    # Comments may name anything.
    if grep -rnE "(crate|model_rollout)::($what)" "$@" --include='*.rs' | grep -vE '^[^:]+:[0-9]+: *//'; then
        echo "  ^ $* must not import $what" >&2
        broken=1
    fi
}

forbid 'formats|machine' bin
forbid 'tools|machine' src/rollout
forbid 'tools|machine|rollout' src/formats
forbid 'tools|formats|rollout' src/machine
for word in src/*.rs; do
    [ "$word" = src/lib.rs ] || forbid 'tools|formats|machine|rollout' "$word"
done
for tool in src/tools/*/; do
    for other in src/tools/*/; do
        [ "$other" = "$tool" ] || [ "$other" = src/tools/shared/ ] || forbid "tools::$(basename "$other")" "$tool"
    done
    for pure in "$tool"cli* "$tool"decide*; do
        [ ! -e "$pure" ] || forbid machine "$pure"
    done
done
# Such a list would hide an import from the patterns above.
if grep -rnE 'use (crate|model_rollout)::\{' src bin; then
    echo "  ^ write one use line per module" >&2
    broken=1
fi
exit $broken
