#!/bin/sh
# rsync.sh update
#
# Run in a model's deploy directory on the test host: pushes the model's .so files and data to the monitor.
# Reconstructed from contract section 3, "rsync.sh update".

# env.sh is sourced: whatever it contains is run. (section 2 "env.sh"; defect 8)
# shellcheck source=/dev/null
. ./env.sh

# Any other first argument prints a usage line and exits with 1. (section 3 "rsync.sh update")
if [ "$1" != "update" ]; then
    echo "usage: sh rsync.sh update"
    exit 1
fi

# Two layouts: online/release + online/data, or the newer release + data beside env.sh. (section 3 "rsync.sh update")
if [ -d online/release ] && [ -d release ]; then
    echo "both online/release and release are here: say which one with --source"
    exit 1
fi

# 1. version = local time (section 3 "rsync.sh update", step 1; section 1 "Names")
version=$(date +%Y%m%d%H%M%S)

# 2. back the previous push up (section 3, step 2)
if [ -d online/release ]; then
    so=online/release
    if [ -f online/success ]; then
        mkdir -p backup/data backup/lib
        cp -r online/data "backup/data/bak-$version"
        cp -r online/release "backup/lib/bak-$version"
    fi
else
    so=online/lib
    if [ -f online/success ]; then
        mkdir -p backup/data backup/lib
        mv online/data "backup/data/bak-$version"
        mv online/lib "backup/lib/bak-$version"
    fi
    mkdir -p online
    rm -rf online/lib online/data
    cp -r release online/lib
    cp -r data online/data
fi

# 3. (section 3, step 3)
echo "$version" > online/success

# 4. .so files (not recursive), data, and last the announcement, whether or not the others arrived.
#    (section 3, step 4; defects 17, 18, 26)
port=${rsyncport:-873}
# shellcheck disable=SC2154 # monitor and modulename are set by env.sh
rsync --port="$port" "$so"/* "$monitor::datamining_plugin/$modulename/lib/"
rsync --port="$port" -r online/data/* "$monitor::datamining_plugin/$modulename/data/"
rsync --port="$port" online/success "$monitor::datamining_plugin/$modulename/"
