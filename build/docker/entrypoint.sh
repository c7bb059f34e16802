#!/bin/bash
# The image's start: makes a database on first use, or attaches the one that a bucket holds, and becomes the server.
#
# Its state is in two places. The file .smartengine-first-start in the data directory says how far this directory has come:
#
#   initialize   mysqld --initialize was started; what is there is of no use, and is made anew
#   first-start  the directory is a server's; whether the database is complete is in the second place
#   complete     nothing is left to do here, with the store that the second line names (empty without one)
#
# So a directory that is given another store, as one that another server made, asks that store first.
#
# The second place is an account without rights, 'smartengine.image'@'localhost', which the engine keeps in the store as all accounts:
# whoever attaches the store meets it, wherever its first start was cut short. The account comes first of all, open and with no password,
# and is locked when everything is done. So anybody can tell by signing in, without root's password:
#
#   signs in           a first start began and has not ended; its attribute says at which stage: "accounts" or "scripts"
#   is locked          the database is complete
#   does not exist     and root has no password and there is nothing else: a new database; otherwise one that some other server made
#
# A crash while the accounts are made is made good: each statement can be repeated, and root's own password is the last of them. A crash
# while init scripts run is refused at the next start, since nobody knows what they had done.
#
# Passwords go to the client by a pipe, never on a command line, and are taken out of the server's environment.
set -eo pipefail
shopt -s nullglob
export LC_ALL=C.UTF-8

readonly MARKER=smartengine.image
readonly SCRIPTS=/docker-entrypoint-initdb.d

say() { printf '%s [%s] [SMARTENGINE image] %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "${*:2}" >&2; }
note() { say Note "$@"; }
warn() { say Warning "$@"; }
die() {
    say ERROR "$@"
    exit 1
}

# Part: Settings.

# The engine's variables that may come by the environment. Others go into a file in /etc/mysql/conf.d or on the command line.
readonly -a ENGINE_VARIABLES=(
    STORE_URL OBJECTSTORE_ENDPOINT OBJECTSTORE_REGION OBJECTSTORE_PATH_STYLE OBJECTSTORE_CA_FILE OBJECTSTORE_REQUEST_TIMEOUT_MS
    OBJECTSTORE_DEADLINE_MS OBJECTSTORE_MAX_CONNECTIONS COMMIT_DURABILITY BLOCK_CACHE_SIZE PERSISTENT_CACHE_SIZE PERSISTENT_CACHE_DIR
    DATA_DIR WAL_DIR ACCEPT_LOST_LOG
)
readonly -a SECRETS=(MYSQL_ROOT_PASSWORD MYSQL_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN)
readonly -a PLAIN=(
    MYSQL_RANDOM_ROOT_PASSWORD MYSQL_ALLOW_EMPTY_PASSWORD MYSQL_ONETIME_PASSWORD MYSQL_ROOT_HOST MYSQL_DATABASE MYSQL_USER MYSQL_INITDB_SKIP_TZINFO
    SMARTENGINE_ACCEPT_UNFINISHED_START
)

# X_FILE names a file with X's value, which a secret of an orchestrator is.
take_from_file() {
    local name=$1 file_name=$1_FILE
    [ -n "${!file_name-}" ] || return 0
    [ -z "${!name-}" ] || die "both $name and $file_name are set: set one of them"
    [ -r "${!file_name}" ] || die "$file_name: ${!file_name} cannot be read by user $(id -u)"
    export "$name=$(<"${!file_name}")"
    unset "$file_name"
}

take_environment() {
    local name engine=()
    for name in "${SECRETS[@]}" "${PLAIN[@]}"; do take_from_file "$name"; done
    for name in "${ENGINE_VARIABLES[@]}"; do
        [ "$name" = OBJECTSTORE_CA_FILE ] || take_from_file "SMARTENGINE_$name"
        engine+=("SMARTENGINE_$name")
    done
    # A misspelt name would leave the data where it was not meant to be. (An orchestrator may add its own, which name ports.)
    for name in $(compgen -e SMARTENGINE_ || true); do
        case " ${engine[*]} SMARTENGINE_ACCEPT_UNFINISHED_START " in *" $name "*) continue ;; esac
        case $name in *_PORT | *_PORT_* | *_SERVICE_HOST) continue ;; esac
        warn "$name in the environment is none of: ${engine[*]}"
    done
    # A command line can be read by others; so an URL with a password in it does not get there. (A bucket may be named tokens.)
    case ${SMARTENGINE_STORE_URL-} in
        *@* | *\?*[Ss][Ee][Cc][Rr][Ee][Tt]* | *\?*[Pp][Aa][Ss][Ss][Ww]* | *\?*[Aa][Cc][Cc][Ee][Ss][Ss][-_]*[Kk][Ee][Yy]* | *\?*[Tt][Oo][Kk][Ee][Nn]*)
            die "SMARTENGINE_STORE_URL seems to hold credentials: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in files that" \
                "AWS_ACCESS_KEY_ID_FILE and AWS_SECRET_ACCESS_KEY_FILE name"
            ;;
    esac
}

# Splits the server's command line: which option files are read has to come first. What is asked for below has its long name, and its value behind
# an equals sign: --datadir /x and -h /x are --datadir=/x. (A server takes no words but options and their values.)
FILES=()     # --defaults-file and the like
OPTIONS=()   # the rest, those of the environment before those that were given
read_command_line() {
    local name variable value last
    local -A long=([h]=datadir [u]=user [P]=port)
    for name in "${ENGINE_VARIABLES[@]}"; do
        variable=SMARTENGINE_$name
        value=${!variable-}
        [ -z "$value" ] || OPTIONS+=("--smartengine-$(tr 'A-Z_' 'a-z-' <<<"$name")=$value")
    done
    while [ $# -gt 0 ]; do
        case $1 in
            --defaults-*=* | --no-defaults | --login-path=* | --no-login-paths) FILES+=("$1") ;;
            -[huP]?*) OPTIONS+=("--${long[${1:1:1}]}=${1:2}") ;;
            -[huP])
                # Without a value it is left to the server to refuse.
                [ $# -ge 2 ] || { OPTIONS+=("$1") && break; }
                OPTIONS+=("--${long[${1:1}]}=$2")
                shift
                ;;
            -*) OPTIONS+=("$1") ;;
            *)
                last=${OPTIONS[*]: -1}
                case $last in
                    --*=* | -[!-]* | '') OPTIONS+=("$1") ;;
                    *) OPTIONS[${#OPTIONS[@]} - 1]="$last=$1" ;;
                esac
                ;;
        esac
        shift
    done
}

# All options of the server, those of files first.
all_options() {
    my_print_defaults "${FILES[@]}" mysqld server "mysqld-$VERSION"
    printf '%s\n' "${OPTIONS[@]}"
}

# The last value of an option, or else $2.
option() {
    local wanted=$1 found=$2 line name
    while IFS= read -r line; do
        name=${line%%=*}
        name=${name//_/-}
        [ "${name/#--loose-/--}=" != "--$wanted${line:${#name}:1}" ] || found=${line#*=}
    done < <(all_options)
    printf '%s' "$found"
}

# Part: The server of a first start.

SERVER=       # its process id
CHILD=        # whatever else runs in the foreground
SOURCED=      # the init script that this shell reads
# What the container is told while this shell is process 1. The shell waits for its children, so that a signal finds it at once.
interrupted() {
    trap '' TERM INT
    warn "told to end before the start was complete"
    [ -z "$CHILD" ] || kill -TERM "$CHILD" 2>/dev/null || true
    exit 143
}
# However this shell ends, no server is left behind that would be killed with it.
ended() {
    local status=$?
    if [ -n "$SOURCED" ]; then
        say ERROR "$SOURCED failed ($status)"
        # One that ends the shell has not let the start come to its end, however it means it.
        [ "$status" -ne 0 ] || status=1
    fi
    [ -z "$SERVER" ] || { kill -TERM "$SERVER" 2>/dev/null && wait "$SERVER" || true; }
    exit "$status"
}
foreground() {
    local status=0
    "$@" <&0 &
    CHILD=$!
    wait "$CHILD" || status=$?
    CHILD=
    return $status
}

# A value for an option file, in quotes, so that neither # nor a blank ends it.
in_option_file() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}
# A value for a statement, in a session whose sql_mode is empty.
quoted() {
    local text=${1//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}
# A name in backticks.
identifier() { printf '`%s`' "${1//\`/\`\`}"; }

# mysql as user $1 with password $2; statements come by standard input. Its answers are read below, so no other option file has a say in how they look.
client() {
    local user=$1 password=$2
    shift 2
    mysql --defaults-file=<(printf '[client]\nuser=%s\npassword=%s\n' "$(in_option_file "$user")" "$(in_option_file "$password")") \
        --protocol=socket --socket="$SOCKET" --default-character-set=utf8mb4 --batch --skip-column-names --comments "$@"
}
as_root() { client root "$ROOT_PASSWORD" "$@"; }
# What scripts that are sourced may call, under the names that they know; statements come by standard input.
mysql_note() { note "$@"; }
mysql_warn() { warn "$@"; }
mysql_error() { die "$@"; }
docker_process_sql() {
    local database=()
    [ -z "${MYSQL_DATABASE-}" ] || database=(--database="$MYSQL_DATABASE")
    foreground as_root "${database[@]}" "$@"
}

# The statements of a compressed file. What cannot be decompressed to its end is a failure.
process_compressed() {
    local database=()
    [ -z "${MYSQL_DATABASE-}" ] || database=(--database="$MYSQL_DATABASE")
    "$1" -dc "$2" | as_root "${database[@]}"
}

# Whoever may look at a server's environment is not to read MySQL's passwords there. (The store's credentials it needs.)
readonly -a WITHOUT_PASSWORDS=(env -u MYSQL_ROOT_PASSWORD -u MYSQL_PASSWORD)

start_server() {
    "${WITHOUT_PASSWORDS[@]}" mysqld "${FILES[@]}" "${OPTIONS[@]}" --skip-networking --loose-mysqlx=OFF --pid-file="$DATADIR/first-start.pid" --socket="$SOCKET" \
        --loose-smartengine-commit-durability=object --skip-replica-start=ON \
        --read-only=OFF --super-read-only=OFF &
    SERVER=$!
    # It attaches the store before it answers, however long that takes.
    until foreground mysqladmin --no-defaults --socket="$SOCKET" --connect-timeout=5 --user=healthcheck ping >/dev/null 2>&1; do
        kill -0 "$SERVER" 2>/dev/null || {
            local status=0
            wait "$SERVER" || status=$?
            SERVER=
            die "the server ended ($status) before it could be used; its lines above say why"
        }
        sleep 0.2
    done
}
stop_server() {
    local status=0
    kill -TERM "$SERVER"
    wait "$SERVER" || status=$?
    SERVER=
    [ "$status" -eq 0 ] || die "the server did not end well ($status); its lines above say why"
}

# Part: What there is.

# Prints "complete", "none", or the stage that an unfinished first start had reached.
marker() {
    local answer
    if answer=$(client "$MARKER" '' -e "SELECT ATTRIBUTE->>'$.first_start' FROM information_schema.USER_ATTRIBUTES WHERE USER = '$MARKER'" 2>&1); then
        case $answer in
            # It was an account for everybody that let it in, which some other server has.
            '') printf none ;;
            accounts | scripts | complete) printf '%s' "$answer" ;;
            *) die "the database cannot be asked whether it is complete: $answer" ;;
        esac
        return
    fi
    case $answer in
        *"ERROR 3118"*) printf complete ;;
        *"ERROR 1045"*) printf none ;;
        *) die "the database cannot be asked whether it is complete: $answer" ;;
    esac
}

# Whether nothing is there but what every new server has.
is_new() {
    local count
    ROOT_PASSWORD=
    count=$(as_root 2>&1 <<<"SELECT (SELECT COUNT(*) FROM information_schema.SCHEMATA
                WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema'))
            + (SELECT COUNT(*) FROM mysql.user WHERE NOT (Host = 'localhost' AND (User = 'root' OR User LIKE 'mysql.%')))") || case $count in
        # A new server's root signs in without a password. This one does not: denied, by a plugin that is not loaded (as mysql_native_password in a
        # store of 8.0), with a password that has expired, or at all.
        *"ERROR 1045"* | *"ERROR 1698"* | *"ERROR 1524"* | *"ERROR 2059"* | *"ERROR 2061"* | *"ERROR 1820"* | *"ERROR 1862"* | *"ERROR 3118"*) return 1 ;;
        *) die "the database cannot be asked whether it is new: $count" ;;
    esac
    case $count in
        '' | *[!0-9]*) die "the database cannot be asked whether it is new: $count" ;;
        *) [ "$count" -eq 0 ] ;;
    esac
}

is_set() { [ -n "${!1-}" ]; }

# Before anything is made, what the environment says of a new database has to make sense.
check_environment() {
    local given=0 name
    for name in MYSQL_ROOT_PASSWORD MYSQL_ALLOW_EMPTY_PASSWORD MYSQL_RANDOM_ROOT_PASSWORD; do
        ! is_set "$name" || given=$((given + 1))
    done
    [ "$given" -gt 0 ] || die "there is no database yet, and no password for its root: set one of MYSQL_ROOT_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD" \
        "and MYSQL_ALLOW_EMPTY_PASSWORD (the first two are safe)"
    if is_set MYSQL_ROOT_PASSWORD && is_set MYSQL_RANDOM_ROOT_PASSWORD; then
        die "both MYSQL_ROOT_PASSWORD and MYSQL_RANDOM_ROOT_PASSWORD are set: set one of them"
    fi
    [ "${MYSQL_USER-}" != root ] || die "MYSQL_USER=root: root is there anyway; MYSQL_ROOT_PASSWORD is for it"
    [ "${MYSQL_USER-}" != "$MARKER" ] || die "MYSQL_USER=$MARKER: the image needs this account itself"
    if is_set MYSQL_USER && ! is_set MYSQL_PASSWORD; then die "MYSQL_USER is set without MYSQL_PASSWORD"; fi
    if is_set MYSQL_PASSWORD && ! is_set MYSQL_USER; then warn "MYSQL_PASSWORD is set without MYSQL_USER, so nobody gets it"; fi
    for name in MYSQL_ROOT_PASSWORD MYSQL_PASSWORD MYSQL_DATABASE MYSQL_USER; do
        case ${!name-} in *$'\n'*) die "$name has more than one line" ;; esac
    done
}

# Part: Making a database.

# A directory that was emptied has come nowhere, though this file may have been overlooked.
state() {
    local found
    found=$(head -n 1 "$STATE" 2>/dev/null || true)
    [ "$found" = initialize ] || [ -e "$DATADIR/mysql.ibd" ] || found=
    printf '%s' "$found"
}
# Whether this directory is complete with the store that it has now.
is_complete() { [ "$(state)" = complete ] && [ "$(sed -n 2p "$STATE")" = "$STORE" ]; }
# Written beside and renamed, so that it is never half there.
set_state() {
    printf '%s\n' "$@" >"$STATE.new"
    sync "$STATE.new"
    mv "$STATE.new" "$STATE"
    sync "$DATADIR"
}

# A data directory of the server's own files. What is in the bucket is untouched by this.
initialize() {
    set_state initialize
    note "making a data directory in $DATADIR"
    # No plugin is loaded for it, so options that are the engine's are not known then.
    local options=() line
    while IFS= read -r line; do
        case ${line//_/-} in
            --smartengine* | --loose-smartengine* | --plugin-load* | --early-plugin-load* | --default-storage-engine=* | --default-tmp-storage-engine=*) ;;
            --log-bin* | --log-error=* | --init-file=* | --daemonize* | '') ;;
            # Nor is any other plugin's that is not loaded.
            --loose-* | --skip-*) options+=("$line") ;;
            --*=*) options+=("--loose-${line#--}") ;;
            *) options+=("$line") ;;
        esac
    done < <(all_options)
    local zones=
    if ! is_set MYSQL_INITDB_SKIP_TZINFO && [ -d /usr/share/zoneinfo ] && command -v mysql_tzinfo_to_sql >/dev/null; then
        # They are tables of the server's own, which no bucket brings back.
        zones=$(mktemp -p "${SOCKET%/*}")
        { echo 'USE mysql;'; mysql_tzinfo_to_sql /usr/share/zoneinfo 2>/dev/null; } >"$zones"
        options+=(--init-file="$zones")
    fi
    foreground "${WITHOUT_PASSWORDS[@]}" mysqld --no-defaults "${options[@]}" --initialize-insecure ||
        die "the data directory could not be made; the lines above say why. The next start makes it anew"
    rm -f "$zones"
    set_state first-start
}

random_password() { LC_ALL=C tr -dc 'A-Za-z0-9' < <(head -c 4096 /dev/urandom) | head -c 32 || true; }

# The statements that make the accounts; each may be repeated, and root's own password comes last. Repeated, they set a password that the account had
# before, which the server may be told to refuse.
accounts_sql() {
    local password anew='PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY' kept='PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT'
    password=$(quoted "$1")
    echo "SET SESSION sql_mode = '', SESSION sql_log_bin = 0;"
    if [ "${MYSQL_ROOT_HOST:=%}" != localhost ]; then
        local root
        root="'root'@$(quoted "$MYSQL_ROOT_HOST")"
        echo "CREATE USER IF NOT EXISTS $root IDENTIFIED BY $password $anew;"
        echo "ALTER USER $root IDENTIFIED BY $password $anew;"
        echo "ALTER USER $root $kept;"
        echo "GRANT ALL ON *.* TO $root WITH GRANT OPTION;"
    fi
    echo "SET SESSION sql_log_bin = 1;"
    ! is_set MYSQL_DATABASE || echo "CREATE DATABASE IF NOT EXISTS $(identifier "$MYSQL_DATABASE");"
    if is_set MYSQL_USER; then
        local user secret
        user="$(quoted "$MYSQL_USER")@'%'"
        secret=$(quoted "$MYSQL_PASSWORD")
        echo "CREATE USER IF NOT EXISTS $user IDENTIFIED BY $secret $anew;"
        echo "ALTER USER $user IDENTIFIED BY $secret $anew;"
        echo "ALTER USER $user $kept;"
        # In a grant, a name with _ or % would mean others too.
        local database=${MYSQL_DATABASE-}
        database=${database//_/\\_}
        database=${database//%/\\%}
        ! is_set MYSQL_DATABASE || echo "GRANT ALL ON $(identifier "$database").* TO $user;"
    fi
    echo "SET SESSION sql_log_bin = 0;"
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $password $anew;"
    echo "ALTER USER 'root'@'localhost' $kept;"
}

set_stage() {
    as_root <<<"SET SESSION sql_log_bin = 0; ALTER USER '$MARKER'@'localhost' ATTRIBUTE '{\"first_start\": \"$1\"}';"
}

make_marker() {
    local warnings
    ROOT_PASSWORD=
    warnings=$(as_root --show-warnings 2>&1 <<<"SET SESSION sql_log_bin = 0;
        CREATE USER '$MARKER'@'localhost' IDENTIFIED WITH caching_sha2_password BY '' ATTRIBUTE '{\"first_start\": \"accounts\"}';") ||
        die "the first start could not begin: $warnings"
    case $warnings in
        *1105*)
            # Left on this disk alone, it would count for the store as soon as that is attached.
            as_root <<<"SET SESSION sql_log_bin = 0; DROP USER '$MARKER'@'localhost';" || true
            die "the store was not attached, so nothing is made that it would not have: $warnings. The server's lines above say why" ;;
    esac
}

make_accounts() {
    local password=${MYSQL_ROOT_PASSWORD-}
    if is_set MYSQL_RANDOM_ROOT_PASSWORD; then
        password=$(random_password)
        [ "${#password}" -eq 32 ] || die "no random password could be drawn"
        # Before it is set: a password that nobody was told would be worse than one that was told and not set.
        note "GENERATED ROOT PASSWORD: $password"
        # For init scripts, which sign in with it.
        export MYSQL_ROOT_PASSWORD=$password
    fi
    foreground as_root < <(accounts_sql "$password") || die "the accounts could not be made; the error is above"
    ROOT_PASSWORD=$password
    set_stage scripts
}

run_scripts() {
    local file
    for file in "$SCRIPTS"/*; do
        case $file in
            *.sh)
                if [ -x "$file" ]; then
                    note "running $file"
                    foreground "$file" || die "$file failed ($?)"
                else
                    note "sourcing $file"
                    # Not followed by ||, which would let a script go on after a command that failed.
                    SOURCED=$file
                    # shellcheck disable=SC1090
                    . "$file"
                    SOURCED=
                fi
                ;;
            *.sql) note "executing $file" && docker_process_sql <"$file" || die "$file failed" ;;
            *.sql.gz) note "executing $file" && foreground process_compressed gzip "$file" || die "$file failed" ;;
            *.sql.zst) note "executing $file" && foreground process_compressed zstd "$file" || die "$file failed" ;;
            *) warn "ignoring $file: only .sh, .sql, .sql.gz and .sql.zst are known" ;;
        esac
    done
}

# Also has root change its password at the first sign-in, if that is wanted. The root that this session is comes after the mark: it may do
# nothing more then. (A crash between the two leaves a password that goes on as it was given.)
lock_marker() {
    local host=${MYSQL_ROOT_HOST:-%} before='' after=''
    local expire="ALTER USER 'root'@$(quoted "$host") PASSWORD EXPIRE;"
    if ! is_set MYSQL_ONETIME_PASSWORD; then
        expire=
    fi
    if [ "$host" = localhost ]; then after=$expire; else before=$expire; fi
    as_root <<<"SET SESSION sql_mode = '', SESSION sql_log_bin = 0; $before
        ALTER USER '$MARKER'@'localhost' ACCOUNT LOCK ATTRIBUTE '{\"first_start\": \"complete\"}'; $after" ||
        die "the first start cannot be completed: the error is above. root@localhost has to sign in with the password that it was given until all init" \
            "scripts have run, so change, rename or drop it afterwards"
}

# The database is there, and no word of the environment changes it.
attached() {
    local what="there is a database"
    [ -z "$STORE" ] || what="the store holds a database"
    note "$what: $1. Init scripts and MYSQL_* of the environment are not applied again"
}

unfinished() {
    is_set SMARTENGINE_ACCEPT_UNFINISHED_START && {
        warn "a first start of this database has not ended (stage $1), and is accepted since SMARTENGINE_ACCEPT_UNFINISHED_START is set. To have" \
            "it count as complete: ALTER USER '$MARKER'@'localhost' ACCOUNT LOCK"
        return
    }
    die "a first start of this database was cut short (stage $1): $2. Remove the volume, and with a bucket all that is under its prefix, and" \
        "start again; or set SMARTENGINE_ACCEPT_UNFINISHED_START=1 to take it as it is"
}

# Takes up a first start that ended while accounts were made: root has no password yet, or that of the environment.
continue_accounts() {
    warn "a first start of this database was cut short while its accounts were made; it goes on"
    ROOT_PASSWORD=
    as_root <<<'DO 0' 2>/dev/null && return
    ROOT_PASSWORD=${MYSQL_ROOT_PASSWORD-}
    as_root <<<'DO 0' 2>/dev/null || return 1
}

first_start() {
    start_server
    local stage begin=
    stage=$(marker)
    case $stage in
        complete) attached "attached" ;;
        none)
            if is_new; then
                check_environment
                make_marker
                begin=yes
            else
                attached "another server made it, and it is attached as it is"
            fi
            ;;
        accounts)
            check_environment
            if continue_accounts; then
                begin=yes
            else
                unfinished "$stage" "its root has a password that is not the one given now"
            fi
            ;;
        *) unfinished "$stage" "init scripts were running, and what they had done is not known" ;;
    esac
    if [ -n "$begin" ]; then
        make_accounts
        run_scripts
        lock_marker
        note "the database is complete"
        # Attributes and locks of accounts are in the store once the statement is answered; the server's own files once it has ended.
    fi
    stop_server
    set_state complete "$STORE"
}

# Part: From here on.

# A data directory is made in an empty folder, and made anew if that was cut short.
check_folders() {
    local name value
    for name in PERSISTENT_CACHE_DIR DATA_DIR WAL_DIR; do
        value=SMARTENGINE_$name
        value=${!value-}
        case $value in
            '') ;;
            /*) [[ $value/ != "$DATADIR"/* ]] || die "SMARTENGINE_$name: $value is in the data directory $DATADIR: name a folder outside of it" ;;
            *) die "SMARTENGINE_$name: $value is no absolute path" ;;
        esac
    done
}

prepare_folders() {
    mkdir -p "$DATADIR" /var/run/mysqld
    local folder user=mysql
    for folder in "$DATADIR" /var/run/mysqld "${SMARTENGINE_PERSISTENT_CACHE_DIR-}" "${SMARTENGINE_DATA_DIR-}" "${SMARTENGINE_WAL_DIR-}"; do
        [ -n "$folder" ] || continue
        mkdir -p "$folder"
        foreground find "$folder" \! -user "$user" -exec chown "$user:" {} +
    done
}

main() {
    # Options alone are the server's.
    case ${1-} in '' | -*) set -- mysqld "$@" ;; esac
    [ "${1##*/}" = mysqld ] || exec "$@"
    local argument
    for argument in "$@"; do
        case $argument in --help | -\? | --version | -V | --print-defaults | --validate-config) exec "$@" ;; esac
    done
    # Process 1 does not hear of a signal that it has no trap for.
    trap interrupted TERM INT
    VERSION=$(mysqld --no-defaults --version | sed -n 's/.*Ver \([0-9]*\.[0-9]*\).*/\1/p')
    take_environment
    read_command_line "${@:2}"
    DATADIR=$(option datadir /var/lib/mysql)
    DATADIR=${DATADIR%/}
    SOCKET=$(option socket /var/run/mysqld/mysqld.sock)
    STATE=$DATADIR/.smartengine-first-start
    STORE=$(option smartengine-store-url '')
    [ "$(state)" = complete ] || check_folders
    if [ "$(id -u)" = 0 ] && [ "$(option user mysql)" != root ]; then
        prepare_folders
        note "becoming the user mysql"
        export HOME=/var/lib/mysql
        exec setpriv --reuid=mysql --regid=mysql --init-groups -- "$0" "$@"
    fi
    for argument in "$DATADIR" "${SOCKET%/*}"; do
        [ -w "$argument" ] || die "$argument cannot be written to by user $(id -u): give the volume to that user, or mount a tmpfs there"
    done
    trap ended EXIT
    case $(state) in
        complete) is_complete || first_start ;;
        first-start) first_start ;;
        initialize)
            warn "$DATADIR was being made when the container ended; it is made anew"
            # The state stays: without it, half of a directory would pass for another server's.
            # What is mounted below is not this directory's.
            find "$DATADIR" -xdev -mindepth 1 \! -name lost+found \! -path "$STATE" -delete
            check_without_store
            initialize
            first_start
            ;;
        *)
            if [ -e "$DATADIR/mysql.ibd" ] || [ -d "$DATADIR/mysql" ]; then
                note "$DATADIR is the data directory of another server; it is taken as it is"
                [ -z "$STORE" ] || first_start
            elif [ -n "$(find "$DATADIR" -mindepth 1 \! -name lost+found \! -path "$STATE.new" \! -path "$STATE" -print -quit)" ]; then
                die "$DATADIR is neither empty nor a server's: mount an empty volume there"
            else
                check_without_store
                initialize
                first_start
            fi
            ;;
    esac
    trap - TERM INT EXIT
    unset "${SECRETS[@]:0:2}"
    exec mysqld "${FILES[@]}" "${OPTIONS[@]}"
}

# With a store, it may hold a database, for which no password is needed.
check_without_store() {
    [ -n "$STORE" ] || check_environment
}

main "$@"
