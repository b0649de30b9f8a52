#!/bin/sh
# Restores a backup into the compose stack: stops what uses the data, swaps it, starts that again, and
# asks the restored Prometheus whether all is there. Run it in the folder of compose.yml:
#
#   backup/restore.sh [NAME|latest] [--only prometheus|gateway] [--from local|s3] [--identity FILE] [--keep-old]
#
# --identity is the file with the secret key, and is shown to this one container only. What was there
# before is put aside, and removed once the restored data has been found to be whole; or kept with
# --keep-old. Where the backup is refused nothing is touched, and everything starts as it was.
set -eu

name=latest only= from= identity= drop=--drop-old
while [ $# -gt 0 ]; do
  case $1 in
    --only | --from | --identity)
      [ $# -ge 2 ] || { echo "restore.sh: $1 needs a value" >&2; exit 64; }
      case $1 in
        --only) only=$2 ;;
        --from) from=$2 ;;
        --identity) identity=$(cd "$(dirname "$2")" && pwd)/$(basename "$2") ;;
      esac
      shift 2 ;;
    --keep-old) drop= ; shift ;;
    -*) echo "restore.sh: there is no $1" >&2; exit 64 ;;
    *) name=$1; shift ;;
  esac
done
[ -f compose.yml ] || { echo "restore.sh: run it in the folder of compose.yml" >&2; exit 64; }
[ -z "$identity" ] || [ -r "$identity" ] || { echo "restore.sh: cannot read $identity" >&2; exit 66; }

case $only in
  '') users='prometheus tollgate' ;;
  prometheus) users=prometheus ;;
  gateway) users=tollgate ;;
  *) echo "restore.sh: --only $only: expected prometheus or gateway" >&2; exit 64 ;;
esac

# once ARGS…: a run of the tool with the powers of restore.compose.yml.
once() {
  files=${COMPOSE_FILE:-$(sed -n 's/^COMPOSE_FILE=//p' .env 2>/dev/null | tail -n 1)}
  if [ -n "$identity" ]; then
    set -- -v "$identity:/run/identity:ro" -e TOLLGATE_BACKUP_IDENTITY_FILE=/run/identity backup "$@"
  else
    set -- backup "$@"
  fi
  COMPOSE_FILE=${files:-compose.yml}:backup/restore.compose.yml \
    docker compose run --rm --no-deps -T "$@"
}

# shellcheck disable=SC2086
docker compose stop backup $users
status=0
once restore "$name" ${only:+--only "$only"} ${from:+--from "$from"} || status=$?
# shellcheck disable=SC2086
docker compose up --detach --wait --no-deps $users backup
[ "$status" -eq 0 ] || { echo "restore.sh: nothing was restored (exit code $status)" >&2; exit "$status"; }
once check $drop
