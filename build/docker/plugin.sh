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
set -- --mysql-source /context/mysql --mysql-build "$build"
# The server is asked for its version, which takes the libraries that it was linked with; the builder may have others than the base.
if /server/usr/sbin/mysqld --no-defaults --version; then
    set -- --mysql-root /server/usr "$@"
else
    echo "the base's server does not run in the builder: whether it has all that the plugin wants of it is not checked" >&2
fi
# For a base whose C and C++ libraries are older than the builder's.
cargo xtask plugin --portable "$@"
cp target/release/ha_smartengine.so /out/
