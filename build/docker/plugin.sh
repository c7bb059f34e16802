#!/bin/sh
# The first stage: gives /out/ha_smartengine.so, either the one that was built on the host, or one that is built here for the server in /server from
# the checkout in /context/smartengine and MySQL's source in /context/mysql.
set -eu
mkdir -p /out
if [ -f /context/plugin/ha_smartengine.so ]; then
    cp /context/plugin/ha_smartengine.so /out/
    exit
fi
for folder in smartengine mysql; do
    [ -d "/context/$folder" ] || { echo "the context has neither a plugin nor the folder $folder to build one from" >&2; exit 1; }
done
command -v cargo >/dev/null || { echo "the builder has no cargo: give one with --builder" >&2; exit 1; }
cd /context/smartengine
build=/context/mysql-build
[ -d "$build" ] || build=/context/mysql/builddir
mkdir -p /server/usr/lib/mysql/plugin
cargo xtask plugin --mysql-root /server/usr --mysql-source /context/mysql --mysql-build "$build"
cp target/release/ha_smartengine.so /out/
