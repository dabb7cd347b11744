#!/bin/sh
# fuzz.sh LAW SECONDS: searches for a text that breaks a law, beginning with the kept corpus. What it finds on the way stays
# in fuzz/target/found/LAW; a text that breaks the law is written to fuzz/artifacts/LAW, and the run fails.
law=$1
seconds=$2
cd "$(dirname "$0")/.." || exit 1
found=fuzz/target/found/$law
log=fuzz/target/found/$law.log
mkdir -p "$found" || exit 1

if RUSTC_BOOTSTRAP=1 "${CARGO:-cargo}" fuzz run -O --debug-assertions "$law" "$found" "fuzz/corpus/$law" -- \
    -max_total_time="$seconds" -max_len=2048 -timeout=20 -print_final_stats=1 > "$log" 2>&1; then
    texts=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$law: $texts texts in $seconds s, nothing found"
    if [ -n "${MODEL_ROLLOUT_FIGURES:-}" ]; then
        printf 'fuzz executions, %s\t%s\n' "$law" "$texts" >> "$MODEL_ROLLOUT_FIGURES/figures.tsv"
    fi
    exit 0
fi
echo "$law: a law is broken, or it could not be run; see $log:" >&2
grep -A 4 -E 'panicked at|^error|ERROR: libFuzzer|Test unit written' "$log" | cut -c 1-2000 | head -n 30 >&2
exit 1
