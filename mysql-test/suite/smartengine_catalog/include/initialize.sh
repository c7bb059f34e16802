#!/bin/sh
# Makes a data directory by mysqld --initialize-insecure, which takes seconds: once in a run for each set of options, and by copying from then on.
#
# initialize.sh FOLDER-OF-THE-RUN DATADIR MYSQLD OPTIONS...
set -e
run=$1
datadir=$2
shift 2
# What it depends on.
inputs() {
    echo "$@"
    for option; do
        case $option in --init-file=*) cat "${option#*=}" ;; esac
    done
}
kept=$run/initialized-$(inputs "$@" | cksum | cut -d ' ' -f 1)
if [ ! -d "$kept" ]; then
    rm -rf "$kept.new"
    "$@" --datadir="$kept.new"
    # Each server has an identity of its own.
    rm -f "$kept.new/auto.cnf"
    mv "$kept.new" "$kept"
fi
rm -rf "$datadir"
cp -a "$kept" "$datadir"
