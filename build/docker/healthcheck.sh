#!/bin/bash
# Healthy: the server that is to stay answers, on its port or, where that is not this container's, on its socket. The one of a first start has no
# network, and does not count.
server=
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = mysqld ] || continue
    server=$(tr '\0' '\n' <"$process/cmdline")
done
[ -n "$server" ] || { echo "no server runs"; exit 1; }
case $server in *first-start.pid*) echo "the first start is under way"; exit 1 ;; esac
files=()
while IFS= read -r option; do
    case $option in --defaults-*=* | --no-defaults) files+=("$option") ;; esac
done <<<"$server"
port=3306
socket=/var/run/mysqld/mysqld.sock
where=port
while IFS= read -r option; do
    case $option in
        --port=*) port=${option#*=} ;;
        --socket=*) socket=${option#*=} ;;
        --skip[-_]networking | --skip[-_]networking=1 | --skip[-_]networking=[Oo][Nn] | --skip[-_]networking=[Tt]*) where=socket ;;
        --bind[-_]address=*'*'* | --bind[-_]address=*0.0.0.0* | --bind[-_]address=*127.0.0.1* | --bind[-_]address=*localhost* | --bind[-_]address=::)
            ;;
        --bind[-_]address=*) where=socket ;;
    esac
done < <(my_print_defaults "${files[@]}" mysqld server && printf '%s\n' "$server")
case $where in
    port) where=(--protocol=tcp --host=127.0.0.1 --port="$port") ;;
    socket) where=(--protocol=socket --socket="$socket") ;;
esac
# Being refused is an answer too, so no password is needed.
exec mysqladmin --no-defaults "${where[@]}" --connect-timeout=4 --user=healthcheck ping
