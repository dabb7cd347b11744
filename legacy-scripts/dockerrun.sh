#!/bin/sh
# dockerrun.sh VERSION DOCKER_NAME PORT SERVICE_NAME
#
# Run once per member: starts the model's container.
# Reconstructed from contract section 3, "dockerrun.sh VERSION DOCKER_NAME PORT SERVICE_NAME".

if [ $# -ne 4 ]; then
    echo "usage: ./dockerrun.sh [version] [docker_name] [port] [service_name]"
    exit 1
fi
version=$1
docker_name=$2
port=$3
service_name=$4

host=/data1/service/$port
workspace=/data1/work/datasys/framework/service/workspace
docker run -d --net=host \
    -v "$host/plugin/$service_name:$workspace/plugin/$service_name" \
    -v "$host/log:$workspace/log" \
    -v "$host/temp:$workspace/temp" \
    -v "$host/bin/etc:$workspace/bin/etc" \
    -v "$host/watch/log:/watch/log" \
    -e ENV_SERVICE_NAME="$service_name" \
    -e ENV_SERVICE_PORT="$port" \
    "registry.intra.weibo.com/weibo_rd_algorithmplatform/$docker_name:$version"
