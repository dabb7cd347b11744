#!/bin/sh
# dispatch.sh: what operators and cron keep calling. Runs the binary `dispatch`, arguments
# untouched. With MODEL_ROLLOUT_LEGACY=1, or where the binary is missing, it runs the script that it
# replaced: dispatch.sh.legacy, beside it.
binary=${MODEL_ROLLOUT_BIN:-/usr/local/bin}/dispatch
if [ "${MODEL_ROLLOUT_LEGACY:-}" != 1 ] && [ -f "$binary" ] && [ -x "$binary" ]; then
    exec "$binary" "$@"
fi

# Members with the binary go by the announcement, which nobody writes from here on: they are told to
# follow service.conf, as scripts do. Only where the binary keeps its state, and only for a plain
# name. The next tick of the binary announces again.
announce_follow() {
    root=${MONITOR_ROOT:-}
    if [ -z "$root" ]; then
        root=/data1/monitor
        if [ ! -d /data1/monitor ] && [ -d /data0/monitor ]; then
            root=/data0/monitor
        fi
    fi
    directory=$root/rsync_service_data/datamining_service/$1/.rollout
    if [ ! -d "$directory" ] || [ -h "$directory" ]; then
        return
    fi
    announcement=$directory/announcement
    follow='{"schema":1,"follow":"service.conf"}'
    if [ -f "$announcement" ] && [ ! -h "$announcement" ] &&
        [ "$(head -n 1 "$announcement")" = "$follow" ]; then
        return
    fi
    # The directory is the monitor's own: nobody else chooses what lies under this name.
    temporary=$directory/.announcement.sh.$$
    if [ ! -d "$announcement" ] && (umask 022 && set -C && echo "$follow" > "$temporary"); then
        if mv -f "$temporary" "$announcement"; then
            return
        fi
    fi
    rm -f "$temporary"
    echo "dispatch.sh: cannot write $announcement;" \
        "members with the binary follow service.conf only after 10 polls" >&2
}

if [ -f "$0.legacy" ]; then
    if [ "${MODEL_ROLLOUT_LEGACY:-}" = 1 ]; then
        case ${1:-} in
            '' | [!A-Za-z0-9_]* | *[!A-Za-z0-9_.-]*) ;;
            *) (announce_follow "$1") ;;
        esac
    fi
    exec "${BASH:-sh}" "$0.legacy" "$@"
fi
if [ "${MODEL_ROLLOUT_LEGACY:-}" = 1 ]; then
    echo "dispatch.sh: MODEL_ROLLOUT_LEGACY=1 asks for $0.legacy, which is not there;" \
        "put the script there, or unset it" >&2
else
    echo "dispatch.sh: neither $binary nor $0.legacy is there;" \
        "run make install, or put the script back" >&2
fi
exit 1
