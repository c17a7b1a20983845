#!/usr/bin/env bash
# The operator's verbs for a stack, a folder in inventory/ (STACK=shop scripts/db-manage.sh start; default: nexanest).
# Each verb is one playbook; connect and logs go straight to the containers.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stack=${STACK:-nexanest}

usage() {
    cat <<'TEXT'
Usage: [STACK=name] scripts/db-manage.sh VERB
  start [options of ansible-playbook]   make or update the whole stack, and start it
  stop                                  stop the containers; nothing is removed
  restart                               restart the containers
  status [--json]                       health, version, port, uptime, size; ends with 1 where something is broken
  access                                log in as every role and try every door; ends with 1 where one is open that should not be
  schema                                in what the databases differ from what their migrations make
  logs [--follow] [service]             logs of all containers, or of one (postgres, timescaledb, redis, pgadmin)
  connect postgres|timescale [psql's options]
  connect redis [redis-cli's options]
  credentials SERVICE                   connection string of a service's application
  seed [SIZE]                           sample data for empty databases; small (default), medium, large, or a number of users
  backup                                take a backup set over the whole stack
  schedule [present|absent]             let this machine take backups by the clock, or no longer
  backups [--verify] [--json] [ID]      list the sets; read every byte of them again
  backups --offsite [--json]            list the sets in the bucket (and, but for --json, the continuous backups)
  verify [--offsite] [ID]               restore the newest set (or that one; or of the bucket) elsewhere, check it, and remove it again
  offsite [ID]                          copy sets and continuous backups into the bucket that the inventory names; with an id, bring that set back
  offsite archives                      copy the continuous backups alone
  offsite SERVER/SYSTEM_IDENTIFIER      bring the continuous backup of a server back that was lost
  base-backup [full|diff|incr]          base backup of each server that is archived continuously (incr: what changed since the last one)
  restore-point NAME                    name this moment, to come back to it
  pitr [time|latest|--name NAME|-e …]   recover to a moment beside the live server; then -e state=promoted, undone or cleaned (playbooks/pitr.yml)
  restore SET [-e databases=auth]       bring a set back (its id, or the path of its folder); more in playbooks/restore.yml
  restore -e state=undone|cleaned       put back what a restore replaced, or remove it
  destroy                               remove the stack with all data; CONFIRM=<stack's name> must be set
TEXT
}

die() {
    printf 'db-manage: %s\n' "$*" >&2
    exit 1
}

check_stack() {
    [[ "$stack" =~ ^[A-Za-z0-9_.-]+$ ]] || die "'$stack' is no name of a stack: STACK is a folder's name in inventory/, without a path"
    [ -f "$root/inventory/$stack/hosts.yml" ] && return
    local known=()
    for file in "$root"/inventory/*/hosts.yml; do
        [ -f "$file" ] && known+=("$(basename "$(dirname "$file")")")
    done
    die "there is no stack '$stack': inventory/ has ${known[*]:-none}. Name one with STACK=…, or make inventory/$stack/hosts.yml."
}

play() { # play <playbook> [options]: with the stack's inventory and the checkout's settings
    local playbook=$1
    shift
    cd "$root"
    ANSIBLE_CONFIG=$root/ansible.cfg "$root/.venv/bin/ansible-playbook" -i "inventory/$stack/hosts.yml" "$playbook" "$@"
}

report() { # the same, but only the play's report is printed; ends with 0 or 1
    ANSIBLE_STDOUT_CALLBACK=nexanest.database.report play "$@" || exit 1
}

start() {
    play site.yml "$@"
    case " $* " in
    *" --check "* | *" -C "*) ;;
    *) printf '%s\n' "The stack $stack is up. Next: make db-status, make db-credentials SERVICE=<a service>; STACK=$stack names it where it is not nexanest." ;;
    esac
}

status() {
    case "${1:-}" in
    --json)
        shift
        report playbooks/status.yml -e '{"stack_status_json": true}' "$@"
        ;;
    *) report playbooks/status.yml "$@" ;;
    esac
}

access() {
    report playbooks/access_report.yml "$@"
}

schema() {
    report playbooks/schema.yml "$@"
}

credentials() {
    [[ "${1:-}" =~ ^[A-Za-z0-9_.-]*$ ]] || die "'$1' is no name of a service"
    report playbooks/credentials.yml -e "{\"stack_credentials_service\": \"${1:-}\"}"
}

seed() {
    local size=${1:-small}
    [[ "$size" =~ ^[a-z0-9]+$ ]] || die "'$size' is no size: small, medium, large, or a number of users"
    shift || true
    play playbooks/seed.yml -e "{\"stack_seed_size\": \"$size\"}" "$@"
}

backup() {
    play playbooks/backup.yml "$@"
}

backups() {
    local verify=false json=false offsite=false id=''
    for word in "$@"; do
        case "$word" in
        --verify) verify=true ;;
        --json) json=true ;;
        --offsite) offsite=true ;;
        *) id=$word ;;
        esac
    done
    [[ "$id" =~ ^[0-9_]*$ ]] || die "'$id' is no id of a set: it looks like 20250531_123456"
    report playbooks/backups.yml -e "{\"backup_verify\": $verify, \"backup_list_json\": $json, \"backup_list_offsite\": $offsite, \"backup_id\": \"$id\"}"
}

offsite() { # offsite [<id or archive to fetch>|archives] [options]
    local id=''
    case "${1:-}" in
    '' | -*) ;;
    archives)
        shift
        play playbooks/wal_archive_offsite.yml "$@"
        return
        ;;
    */*)
        id=$1
        shift
        [[ "$id" =~ ^[a-z]+/[0-9]+$ ]] || die "'$id' is no archive: it looks like timescaledb/7713188848805994522, and make db-backups OFFSITE=1 lists them"
        play playbooks/wal_archive_offsite.yml -e "{\"wal_archive_offsite_fetch\": \"$id\"}" "$@"
        return
        ;;
    *)
        id=$1
        shift
        [[ "$id" =~ ^[0-9]{8}_[0-9]{6}$ ]] || die "'$id' is no id of a set: it looks like 20250531_123456, and make db-backups OFFSITE=1 lists them"
        ;;
    esac
    play playbooks/backup_offsite.yml ${id:+-e "{\"backup_offsite_fetch\": \"$id\"}"} "$@"
}

verify() { # verify [--offsite] [<id>] [options]
    local id='' offsite=''
    if [ "${1:-}" = --offsite ]; then
        offsite=true
        shift
    fi
    case "${1:-}" in
    '' | -*) ;;
    *)
        id=$1
        shift
        [[ "$id" =~ ^[0-9]{8}_[0-9]{6}$ ]] || die "'$id' is no id of a set: it looks like 20250531_123456, and make db-backups lists them"
        ;;
    esac
    play playbooks/restore_drill.yml ${offsite:+-e '{"backup_drill_offsite": true}'} ${id:+-e "{\"backup_drill_id\": \"$id\"}"} "$@"
}

restore() { # restore [<id or path>] [options]
    local set=''
    case "${1:-}" in
    '') die "which set? make db-backups lists them: scripts/db-manage.sh restore 20250531_123456" ;;
    -*) ;;
    */*)
        set=$(realpath -m -- "$1")
        shift
        ;;
    *)
        set=$1
        shift
        ;;
    esac
    [[ "$set" =~ ^[^\"\\]*$ ]] || die "'$set' is no path of a set"
    play playbooks/restore.yml ${set:+-e "{\"backup\": \"$set\"}"} "$@"
}

base-backup() {
    local kind=incr
    case "${1:-}" in
    full | diff | incr)
        kind=$1
        shift
        ;;
    '' | -*) ;;
    *) die "'$1' is none of full, diff and incr" ;;
    esac
    play playbooks/base_backup.yml -e "{\"wal_archive_backup_type\": \"$kind\"}" "$@"
}

restore-point() {
    local name=${1:-}
    [[ "$name" =~ ^[^\"\\]+$ ]] || die "which name? make db-restore-point NAME=before-clean-up (NAME behind make), or scripts/db-manage.sh restore-point before-clean-up"
    shift
    play playbooks/restore_point.yml -e "{\"wal_archive_restore_point\": \"$name\"}" "$@"
}

pitr() { # pitr [<time>|latest] [--name <restore point>] [options]; two targets are the module's to refuse
    local time='' name=''
    case "${1:-}" in
    '' | -*) ;;
    latest) shift ;;
    *)
        time=$1
        shift
        [[ "$time" =~ ^[0-9T:.+Z\ -]+$ ]] || die "'$time' is no time: write it like '2025-05-31 12:34:55+00'"
        ;;
    esac
    if [ "${1:-}" = --name ]; then
        name=${2:-}
        [[ "$name" =~ ^[^\"\\]+$ ]] || die "which name? scripts/db-manage.sh pitr --name before-clean-up"
        shift 2
    fi
    play playbooks/pitr.yml ${time:+-e "{\"time\": \"$time\"}"} ${name:+-e "{\"restore_point\": \"$name\"}"} "$@"
}

schedule() {
    local state=${1:-present}
    [[ "$state" =~ ^(present|absent)$ ]] || die "'$state' is neither present nor absent"
    shift || true
    play playbooks/backup_schedule.yml -e "{\"backup_schedule_state\": \"$state\"}" "$@"
}

destroy() {
    [[ "${CONFIRM:-}" =~ ^[A-Za-z0-9_.-]*$ ]] || die "'$CONFIRM' is no name of a stack"
    play playbooks/destroy.yml -e "{\"stack_destroy_confirm\": \"${CONFIRM:-}\"}" "$@"
}

main() {
    local verb=${1:-}
    [ $# -eq 0 ] || shift
    case "$verb" in
    start | stop | restart | status | access | schema | logs | connect | credentials | seed | backup | backups | verify | offsite | base-backup | restore-point | pitr | restore | schedule | destroy) ;;
    '' | help | -h | --help)
        usage
        return
        ;;
    *)
        usage >&2
        die "unknown verb '$verb'"
        ;;
    esac
    check_stack
    "$root/scripts/bootstrap"
    case "$verb" in
    start) start "$@" ;;
    stop | restart) play "playbooks/$verb.yml" "$@" ;;
    logs | connect) ANSIBLE_CONFIG=$root/ansible.cfg exec "$root/.venv/bin/python" "$root/scripts/db_access.py" "$stack" "$verb" "$@" ;;
    *) "$verb" "$@" ;;
    esac
}

main "$@"
