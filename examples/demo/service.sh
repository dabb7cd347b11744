#!/bin/sh
# service.sh start|stop: what service_start and service_stop of a member's env.sh run. It lies in the workspace's bin/.
# start comes back when the service answers, so that a version is not reported before it is served.
workspace=$(cd "$(dirname "$0")/.." && pwd)
conf=$workspace/bin/etc/service.conf
pid_file=$workspace/temp/service.pid
# address and program, and the mark by which the demo knows its processes again: written by the demo
# shellcheck source=/dev/null
. "$workspace/bin/service.env"

# Whether process $1 is this member's service: a pid file may be older than the process that has its number now.
is_service() {
    [ -n "$1" ] && tr '\0' '\n' 2>/dev/null < "/proc/$1/cmdline" | grep -qxF "$conf"
}

# Waits at most 10 s until the command succeeds.
wait_until() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ] || return 1
        sleep 0.02
    done
}

case $1 in
start)
    rm -f "$pid_file"
    # shellcheck disable=SC2154 # both are set by service.env
    "$program" "$conf" --address "$address" --workspace "$workspace" --pid-file "$pid_file" \
        >> "$workspace/log/service.log" 2>&1 &
    service=$!
    ready_or_gone() { [ -s "$pid_file" ] || ! kill -0 "$service" 2>/dev/null; }
    if ! wait_until ready_or_gone || [ ! -s "$pid_file" ]; then
        echo "service.sh: the service did not come up; see $workspace/log/service.log" >&2
        exit 1
    fi
    ;;
stop)
    service=$(cat "$pid_file" 2>/dev/null)
    if is_service "$service"; then
        kill "$service"
        gone() { ! is_service "$service"; }
        wait_until gone
    fi
    ;;
*)
    echo "usage: sh service.sh start|stop" >&2
    exit 2
    ;;
esac
