#!/bin/sh
# fast-tmp.sh: prints the directory for the tests' temporary files. In memory, where programs may be run from there: the
# tests write and sync thousands of small files, and on a disk each waits for everybody else's.
for dir in "${TMPDIR:-}" /dev/shm /tmp; do
    [ -d "$dir" ] || continue
    probe=$dir/model-rollout-probe.$$
    if printf '#!/bin/sh\n' > "$probe" 2> /dev/null && chmod 700 "$probe" && "$probe" 2> /dev/null; then
        rm -f "$probe"
        echo "$dir"
        exit 0
    fi
    rm -f "$probe"
done
echo /tmp
