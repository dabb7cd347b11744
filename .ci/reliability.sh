#!/bin/sh
# reliability.sh FIGURES DOCUMENT: adds up the lines "WHAT<TAB>COUNT" of FIGURES (every experiment appends its own) and puts
# the table between the two marks of DOCUMENT. Fails, and changes nothing, where an experiment left no figure.
set -eu
figures=$1
document=$2

wanted='defects of the scripts, shown and closed
points killed
errors injected
runs traced for a power cut
interleavings
failures of the network
hostile inputs'
laws=$(sed -n 's/^FUZZ_TARGETS = //p' Makefile)

count_of() {
    awk -F '\t' -v what="$1" '$1 == what { sum += $2; seen = 1 } END { if (!seen) exit 1; printf "%d", sum }' "$figures"
}

row() {
    if ! count=$(count_of "$1"); then
        echo "reliability.sh: $figures has no figure for: $1; run make reliability from its beginning" >&2
        exit 1
    fi
    printf '| %s | %s |\n' "$1" "$(printf '%s' "$count" | sed -e ':a' -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/;ta')"
}

new=$document.new
trap 'rm -f "$new" "$new.table"' EXIT
{
    printf '| what | how many |\n|---|---:|\n'
    printf '%s\n' "$wanted" | while IFS= read -r what; do row "$what"; done
    for law in $laws; do row "fuzz executions, $law"; done
    row losses | sed 's/| losses |/| **losses** |/'
    printf '\n%s, %s processors, Linux %s, rsync %s, %s.\n' "$(date +%Y-%m-%d)" "$(nproc)" "$(uname -r | cut -d . -f 1,2)" \
        "$(rsync --version | awk 'NR == 1 { print $3 }')" "$(rustc --version | cut -d ' ' -f 1,2)"
} > "$new.table"
awk -v table="$new.table" '
    /<!-- figures -->/ { print; while ((getline line < table) > 0) print line; inside = 1 }
    /<!-- end of figures -->/ { inside = 0 }
    !inside && !/<!-- figures -->/ { print }
' "$document" > "$new"
cat "$new" > "$document"
cat "$new.table"
