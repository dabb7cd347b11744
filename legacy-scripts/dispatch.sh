#!/bin/sh
# dispatch.sh APPNAME PREFIXPATH SONAME
#
# Run every minute for each model on the monitor: publishes a complete upload, and ends an upgrade.
# Reconstructed from contract section 3, "dispatchserver.sh / dispatch.sh".

appname=$1       # the model's directory
prefixPath=$2    # where the members keep the model's versions
soName=$3        # the library's file name

# the monitor's root (section 1)
if [ -z "$MONITOR_ROOT" ]; then
    MONITOR_ROOT=/data1/monitor
    if [ ! -d /data1/monitor ] && [ -d /data0/monitor ]; then
        MONITOR_ROOT=/data0/monitor
    fi
fi
pluginRootPath=$MONITOR_ROOT/rsync_service_data/datamining_plugin
serviceRootPath=$MONITOR_ROOT/rsync_service_data/datamining_service
upload=$pluginRootPath/$appname
service=$serviceRootPath/$appname

fUpdateVersion() {
    # an upgrade is in flight (section 3 "fUpdateVersion")
    if [ -e "$service/status" ]; then
        return
    fi
    # no complete upload; a root that is not mounted looks the same (section 3; defect 24)
    if [ ! -e "$upload/success" ]; then
        return
    fi

    # the version that success announces, otherwise local time (section 2 "success, status")
    version=$(head -n 1 "$upload/success" | awk '{print $1}' | grep -E '^[0-9]{8,14}([._-][A-Za-z0-9]+)?$')
    if [ -z "$version" ]; then
        version=$(date +%Y%m%d%H%M%S)
    fi

    # (1) killed from here on, the push is lost (section 3, step 1; defects 3, 4)
    echo "$version" > "$service/status"

    # (2) whatever the upload holds at this moment, over whatever is there; versions are never removed
    #     (section 3, step 2; defects 5, 10, 11, 17, 23)
    mkdir -p "$service/plugin/$version"
    cp -r "$upload"/* "$service/plugin/$version/"

    # (3) to (5), one after the other, in every instance's service.conf: the patterns are not anchored, and do not match
    #     "key = value" (section 3, steps 3 to 5; defects 2, 6, 7)
    replaceprefixPath=$(echo "$prefixPath" | sed 's/\//\\\//g')
    for conf in "$service"/config_*/service.conf; do
        sed -i -r "s/moduleversion=\S*+/moduleversion=${version}/g" "$conf"
        sed -i -r "s/modulepath=\S*+/modulepath=${replaceprefixPath}\/${version}\/lib\/$soName/g" "$conf"
        sed -i -r "s/moduleconfig=\S*+/moduleconfig=${replaceprefixPath}\/${version}\/data/g" "$conf"
    done
    echo "update $appname to $version"
}

fCheckVersion() {
    if [ ! -e "$service/status" ]; then
        return
    fi

    # 20 minutes: given up without a word about who is late (section 3 "fCheckVersion"; defect 19)
    age=$(($(date +%s) - $(stat -c %Y "$service/status")))
    if [ "$age" -gt 1200 ]; then
        rm -f "$service/status" "$upload/success"
        return
    fi

    # the member list, sourced (section 2 "The member list on the monitor")
    memberList=$MONITOR_ROOT/scripts/dispatch/conf/$appname.env.sh
    members=
    if [ -f "$memberList" ]; then
        # shellcheck source=/dev/null
        . "$memberList"
    fi
    if [ -z "$members" ]; then
        echo "$appname: members unknown"
        return
    fi

    # every member in turn; one that differs or does not answer ends the check (section 3 "fCheckVersion"; defect 20)
    version=$(sed -n 's/^moduleversion=\([^[:space:]]*\).*/\1/p' "$service/config_1/service.conf" | head -n 1)
    for ip in $(echo "$members" | tr ',' ' '); do
        serving=$(cat "$service/version/$ip" 2>/dev/null)
        if [ "$serving" != "$version" ]; then
            echo "$appname: $ip has not $version yet"
            return
        fi
    done

    # all agree; a success that arrived meanwhile goes too (section 3 "fCheckVersion"; defect 4)
    rm -f "$service/status" "$upload/success"
    echo "$appname: all members have $version"
}

# both, update first (section 3)
fUpdateVersion
fCheckVersion
