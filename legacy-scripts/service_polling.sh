#!/bin/sh
# service_polling.sh
#
# Run every minute by cron on each member: fetches service.conf, and on a change the version that it names.
# Reconstructed from contract section 3, "service_polling.sh". Runs may overlap. (defect 1)

# the roots (section 1)
watchRoot=${WATCH_ROOT:-/watch}
workspace=${WORKSPACE_ROOT:-/data1/work/datasys/framework/service/workspace}

# settings, sourced; otherwise the container's (section 3 "service_polling.sh"; defect 8)
if [ -f "$watchRoot/env.sh" ]; then
    # shellcheck source=/dev/null
    . "$watchRoot/env.sh"
fi
model=${modulename:-$ENV_SERVICE_NAME}
port=${rsyncport:-873}

# the monitor's service.conf, beside the installed one (section 3; all pollers start at second 0: defect 25;
# equal size and second count as equal: defect 21)
installed=$workspace/bin/etc/service.conf
mkdir -p "$workspace/temp"
fetched=$workspace/temp/service.conf.$$
# shellcheck disable=SC2154 # monitor is set by env.sh
rsync --port="$port" "$monitor::datamining_service/$model/config_1/service.conf" "$fetched"
if [ ! -f "$fetched" ]; then
    exit 1
fi
if cmp -s "$fetched" "$installed"; then
    rm -f "$fetched"
    exit 0
fi

# the version, every byte of it, over whatever is there (section 3; defects 11, 23, 26)
version=$(sed -n 's/^moduleversion=\([^[:space:]]*\).*/\1/p' "$fetched" | head -n 1)
mkdir -p "$workspace/plugin/$model/$version"
rsync --port="$port" -r "$monitor::datamining_service/$model/plugin/$version/" "$workspace/plugin/$model/$version/"

# install and restart: a cold start, at the same time on every member; nobody looks whether it comes up
# (section 3; defects 15, 16, 22)
mkdir -p "$workspace/bin/etc"
cat "$fetched" > "$installed"
rm -f "$fetched"
# shellcheck disable=SC2154 # service_stop and service_start are set by env.sh
sh -c "$service_stop"
# shellcheck disable=SC2154
sh -c "$service_start"

# report (section 2 "The member list on the monitor, and what members report")
if [ -z "$address" ]; then
    address=$(hostname -I | awk '{print $1}')
fi
mkdir -p "$workspace/temp/version.$$"
echo "$version" > "$workspace/temp/version.$$/$address"
rsync --port="$port" "$workspace/temp/version.$$/$address" "$monitor::datamining_service/$model/version/"
rm -rf "$workspace/temp/version.$$"
