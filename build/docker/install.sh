#!/bin/sh
# Makes the image's server: installs Debian's packages where the base has none, and makes the user and the folders.
# The argument is the version that the plugin was built for.
set -eu
version=${1-}

# Debian's packages of a server need more than a server does, and an image is pulled again and again.
install_server() {
    [ -n "$version" ] || { echo "MYSQL_VERSION is empty: the base has no server, and which one to install is not said" >&2; exit 1; }
    # What is copied is copied with its licence.
    { printf 'path-exclude=/usr/share/%s/*\n' doc man info locale lintian && echo 'path-include=/usr/share/doc/*/copyright'; } \
        > /etc/dpkg/dpkg.cfg.d/smartengine-slim
    # The lists of an archive's copy may be older than their date allows.
    apt-get -o Acquire::Check-Valid-Until=false -q update
    apt-cache madison mysql-server-core | grep -qF " $version " || {
        echo "Debian's archive has no mysql-server-core $version, for which the plugin was built; it has:" >&2
        apt-cache madison mysql-server-core >&2
        echo "fetch that one with: cargo xtask mysql --update" >&2
        exit 1
    }
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install \
        "mysql-server-core=$version" "mysql-client-core=$version" zstd tzdata ca-certificates
    # Only scripts that no container runs are written in perl.
    dpkg --purge --force-depends perl perl-modules-5.* libperl5.* 2>/dev/null ||
        dpkg --purge --force-depends $(dpkg-query -W -f '${Package} ' 'perl' 'perl-modules-5*' 'libperl5*')
    for program in mysqld_multi mysqld_safe mysqldumpslow mysql_migrate_keyring mysql_secure_installation mysqlslap \
        innochecksum ibd2sdi myisam_ftdump myisamchk myisamlog myisampack; do
        rm -f "/usr/bin/$program"
    done
    # What a client takes to sign in elsewhere.
    rm -f /usr/lib/mysql/plugin/*_client.so
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
        /usr/share/man/* /usr/share/info/* /usr/share/locale/*
    find /usr/share/doc -type f ! -name copyright -delete
}

command -v mysqld >/dev/null || install_server
for program in awk bash gzip mysql mysqladmin my_print_defaults setpriv find; do
    command -v "$program" >/dev/null || { echo "the base has no $program, which the image's start needs" >&2; exit 1; }
done
# Where servers look for plugins: Oracle's packages have the folder elsewhere, and find ours by a link.
folder=$(mysqld --no-defaults --verbose --help 2>/dev/null | awk '$1 == "plugin-dir" { print $2; exit }')
[ -d "$folder" ] || { echo "the server's folder of plugins is not there: '$folder'" >&2; exit 1; }
mkdir -p /usr/lib/mysql/plugin
[ "$(readlink -f "$folder")" = /usr/lib/mysql/plugin ] || ln -sf /usr/lib/mysql/plugin/ha_smartengine.so "$folder/ha_smartengine.so"

getent group mysql >/dev/null || groupadd --system --gid 999 mysql
getent passwd mysql >/dev/null || useradd --system --uid 999 --gid mysql --home-dir /var/lib/mysql --no-create-home --shell /bin/false mysql
rm -f /etc/my.cnf /etc/mysql/my.cnf
mkdir -p /var/lib/mysql /var/run/mysqld /etc/mysql/conf.d /docker-entrypoint-initdb.d
# A base may have declared it a volume, which cannot be removed itself.
find /var/lib/mysql -mindepth 1 -delete
chown mysql:mysql /var/lib/mysql /var/run/mysqld
# For users of any number (docker run --user).
chmod 1777 /var/lib/mysql /var/run/mysqld
