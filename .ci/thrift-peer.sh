#!/bin/sh
# thrift-peer.sh DIR: an environment of Python with Apache's thrift library below DIR, once: another implementation of the protocol
# that `probe=rpc` speaks (tests/thrift_peer). Silent when it is there. Where it cannot be had, one line says so and the exit code is
# 0: the test is a counted skip then, and in CI a failure.
dir=${1:?}
version=0.25.0
done=$dir/thrift-$version
cd "$(dirname "$0")/.." || exit 1
is_whole() {
    "$dir/bin/python3" -c 'import thrift.protocol.TBase'
}
# The Python that it was made with may be gone.
[ -e "$done" ] && is_whole 2> /dev/null && exit 0

rm -f "$done"
sh .ci/need.sh python3 python3-venv || exit 0
rm -rf "$dir"
if ! { python3 -m venv "$dir" && "$dir/bin/python3" -m pip install --quiet --disable-pip-version-check "thrift==$version" &&
    is_whole; } > "$dir.log" 2>&1; then
    echo "no thrift $version for Python: $(tail -n 1 "$dir.log"); see $dir.log" >&2
    exit 0
fi
: > "$done"
