#!/bin/sh
# add_dispatch_docker.sh TYPE MODULE PLUGIN
#
# Run once per model on the monitor: creates the model's two directories and registers it.
# Reconstructed from contract section 3, "add_dispatch_docker.sh TYPE MODULE PLUGIN".

if [ $# -ne 3 ]; then
    echo "usage: sh add_dispatch_docker.sh type module plugin"
    exit 1
fi
type=$1
module=$2
plugin=$3

# the monitor's root (section 1)
if [ -z "$MONITOR_ROOT" ]; then
    MONITOR_ROOT=/data1/monitor
    if [ ! -d /data1/monitor ] && [ -d /data0/monitor ]; then
        MONITOR_ROOT=/data0/monitor
    fi
fi
pluginRootPath=$MONITOR_ROOT/rsync_service_data/datamining_plugin
serviceRootPath=$MONITOR_ROOT/rsync_service_data/datamining_service
registry=$MONITOR_ROOT/scripts/dispatch/bin/dispatchserver.sh

# TYPE picks the template of service.conf (section 3)
if [ "$type" != "model" ]; then
    echo "unknown type $type: model"
    exit 1
fi

# two directories, both non-empty (section 3)
mkdir -p "$pluginRootPath/$module/lib" "$pluginRootPath/$module/data"
mkdir -p "$serviceRootPath/$module/config_1" "$serviceRootPath/$module/plugin"

# the generated service.conf "has errors": the port, the name and the [monitor] section are left as in the template
# (section 3)
if [ ! -e "$serviceRootPath/$module/config_1/service.conf" ]; then
    cat > "$serviceRootPath/$module/config_1/service.conf" << 'EOF'
[common]
# the port that the service listens on
port=maxport
worker_count=128
max_conn=1000
task_expire_time=1000
# 0: stay in the foreground; 1: daemon
daemonize=0
# 0 verbose, 1 trace, 2 debug, 3 notice, 4 warning, 5 error, 6 fatal
log_level=3
log_file_name=/data1/work/datasys/framework/service/workspace/log/service
# 0: off; 1: on
is_monitor=1
monitor_type=zk

[module]
name=svc_name
modulepath=/data1/work/datasys/framework/service/workspace/plugin/svc_name/demo_version/lib/model_demo.so
moduleconfig=/data1/work/datasys/framework/service/workspace/plugin/svc_name/demo_version/data
type=so
moduleversion=demo_version

[monitor]
zk_addr=zk://10.39.11.60:2181,10.39.11.61:2181,10.39.11.62:2181,10.39.11.63:2181,10.39.11.64:2181
zk_group_id=model_service
zk_service_id=svc_name
zk_type_id=online
EOF
fi

# the stanza, appended without a look at what is there (section 2 "dispatchserver.sh"; defect 9)
cat >> "$registry" << EOF
# $module
# add by $(id -un)
mymodel="$module"
plugin="$plugin"
echo "==================begin start run \$mymodel================================="\`date\`  >> \${logFile}
sh dispatch.sh \$mymodel /data1/work/datasys/framework/service/workspace/plugin/\$mymodel \$plugin.so >> \${logFile}
echo "==================end run \$mymodel========================================="\`date\`  >> \${logFile}
EOF
