#!/bin/sh
# Starts PostgreSQL; on the first start it makes the cluster, with the official image's variables.
#
#   POSTGRES_PASSWORD       password of the superuser; needed on the first start
#   POSTGRES_USER           superuser (postgres)
#   POSTGRES_DB             a first database (the superuser's name)
#   POSTGRES_INITDB_ARGS    more arguments for initdb, separated by blanks
#   …_FILE                  the same from a file; a variable and its file together are an error
#   /docker-entrypoint-initdb.d/*.sh *.sql *.sql.gz *.sql.xz    run once, in order
#
# The cluster is made beside its place and renamed when it is complete: a container that was
# killed in between starts from the beginning, and never from half a cluster.
set -eu
umask 077

fail() {
    echo "docker-entrypoint: $1" >&2
    exit 1
}

# Sets the variable $1 from itself, from the file that $1_FILE names, or to $2; it is never exported.
from_file() {
    eval "direct=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$direct" ] && [ -n "$file" ]; then
        fail "both $1 and $1_FILE are set: keep one of them"
    fi
    if [ -n "$file" ]; then
        [ -r "$file" ] || fail "$1_FILE names $file, which uid $(id -u) cannot read: check the mount and its permissions"
        direct=$(cat "$file")
    fi
    unset "$1" "$1_FILE"
    eval "$1=\${direct:-\$2}"
    unset direct file
}

as_postgres() {
    mkdir -p "$(dirname "$PGDATA")" /run/postgresql
    chown postgres:postgres "$(dirname "$PGDATA")" /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
}

check_version() {
    found=$(cat "$PGDATA/PG_VERSION")
    [ "$found" = "$PG_MAJOR" ] || fail "$PGDATA holds data of PostgreSQL $found and this is PostgreSQL $PG_MAJOR: \
start it with an image of $found, or dump it there and restore it here"
}

make_cluster() {
    [ -n "$POSTGRES_PASSWORD" ] || fail "the first start needs the superuser's password: set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD)"
    if [ -d "$PGDATA" ] && ! rmdir "$PGDATA" 2>/dev/null; then
        fail "$PGDATA is neither empty nor a cluster, or is the volume itself: PGDATA must be a folder inside the volume that nothing else uses"
    fi
    work=$PGDATA.init
    rm -rf "$work"
    mkdir -p "$work/socket"
    # The password goes through a pipe: argv and the environment can be read by others.
    # shellcheck disable=SC2086 # the arguments are meant to be split
    printf '%s\n' "$POSTGRES_PASSWORD" | initdb --pgdata="$work/data" --username="$POSTGRES_USER" --pwfile=/dev/stdin \
        --encoding=UTF8 --data-checksums --auth-local=peer --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
    printf 'host all all all scram-sha-256\n' >> "$work/data/pg_hba.conf"
    printf "listen_addresses = '*'\n" >> "$work/data/postgresql.conf"
    fill_cluster "$@"
    sync
    mv -T "$work/data" "$PGDATA"
    sync
    rm -rf "$work"
    echo "docker-entrypoint: the cluster is complete"
}

# Runs the first database's creation and the init scripts on a server that answers on a private socket alone.
fill_cluster() {
    printf 'local all all trust\n' > "$work/hba"
    "$@" -D "$work/data" -c listen_addresses= -c unix_socket_directories="$work/socket" -c hba_file="$work/hba" \
        -c data_directory="$work/data" -c archive_mode=off -c synchronous_standby_names= &
    server=$!
    trap 'kill -INT "$server" 2>/dev/null; wait "$server"; exit 1' INT TERM
    export PGHOST="$work/socket" PGUSER="$POSTGRES_USER" PGDATABASE=postgres
    tries=0
    until pg_isready --quiet; do
        tries=$((tries + 1))
        kill -0 "$server" 2>/dev/null || fail "the server of the first start ended early: its messages stand above"
        [ "$tries" -lt 240 ] || fail "the server of the first start did not answer within two minutes"
        sleep 0.5
    done
    if [ "$POSTGRES_DB" != postgres ]; then
        printf 'CREATE DATABASE :"name";\n' | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set name="$POSTGRES_DB"
    fi
    export PGDATABASE="$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*; do
        run_script "$script" || fail "$script failed: correct it and start again"
    done
    kill -INT "$server"
    wait "$server" || fail "the server of the first start did not stop cleanly"
    trap - INT TERM
    unset PGHOST PGUSER PGDATABASE server tries
}

run_script() {
    case $1 in
        *.sh)
            # shellcheck source=/dev/null # known at run time alone
            if [ -x "$1" ]; then "$1"; else . "$1"; fi
            ;;
        *.sql) sql < "$1" ;;
        *.sql.gz) gunzip -c "$1" | sql ;;
        *.sql.xz) xz -dc "$1" | sql ;;
        */\*) ;;
        *) echo "docker-entrypoint: $1 is left aside: not .sh, .sql, .sql.gz or .sql.xz" ;;
    esac
}

sql() {
    psql --no-psqlrc --set ON_ERROR_STOP=1
}

case ${1:-} in
    -*) set -- postgres "$@" ;;
esac
if [ "${1:-}" != postgres ]; then
    exec "$@"
fi
for argument; do
    case $argument in
        -\? | --help | -V | --version | -C | --describe-config) exec "$@" ;;
    esac
done
if [ "$(id -u)" = 0 ]; then
    as_postgres "$@"
fi
from_file POSTGRES_PASSWORD ''
from_file POSTGRES_USER postgres
from_file POSTGRES_DB "$POSTGRES_USER"
from_file POSTGRES_INITDB_ARGS ''
# What init scripts are written for.
export POSTGRES_USER POSTGRES_DB
if [ -s "$PGDATA/PG_VERSION" ]; then
    check_version
    rm -rf "$PGDATA.init"
else
    make_cluster "$@"
fi
unset POSTGRES_PASSWORD
exec "$@"
