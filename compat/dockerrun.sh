#!/bin/sh
# dockerrun.sh: what operators keep calling. Runs the binary `dockerrun`, arguments untouched. With
# MODEL_ROLLOUT_LEGACY=1, or where the binary is missing, it runs the script that it replaced: dockerrun.sh.legacy, beside it.
binary=${MODEL_ROLLOUT_BIN:-/usr/local/bin}/dockerrun
if [ "${MODEL_ROLLOUT_LEGACY:-}" != 1 ] && [ -f "$binary" ] && [ -x "$binary" ]; then
    exec "$binary" "$@"
fi
if [ -f "$0.legacy" ]; then
    exec "${BASH:-sh}" "$0.legacy" "$@"
fi
if [ "${MODEL_ROLLOUT_LEGACY:-}" = 1 ]; then
    echo "dockerrun.sh: MODEL_ROLLOUT_LEGACY=1 asks for $0.legacy, which is not there; put the script there, or unset it" >&2
else
    echo "dockerrun.sh: neither $binary nor $0.legacy is there; run make install, or put the script back" >&2
fi
exit 1
