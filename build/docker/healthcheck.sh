#!/bin/bash
# Healthy: the server that is to stay answers on its port. The one of a first start has no network, and does not count.
set -u
port=3306
options=$(my_print_defaults mysqld server)
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = mysqld ] || continue
    options+=$'\n'$(tr '\0' '\n' <"$process/cmdline")
    server=${process##*/}
done
[ -n "${server-}" ] || { echo "no server runs"; exit 1; }
case $options in *first-start.pid*) echo "the first start is under way"; exit 1 ;; esac
while IFS= read -r option; do
    case $option in
        --port=*) port=${option#*=} ;;
        --skip[-_]networking | --skip[-_]networking=[1oOtT]*) socket=yes ;;
    esac
done <<<"$options"
# Being refused is an answer too, so no password is needed.
where=(--protocol=tcp --host=127.0.0.1 --port="$port")
[ -z "${socket-}" ] || where=(--socket=/var/run/mysqld/mysqld.sock)
exec mysqladmin --no-defaults "${where[@]}" --connect-timeout=4 --user=healthcheck ping
