#!/usr/bin/env bash
# Starts Usher in the place of the Python worker on a rented GPU machine: the
# same environment variables, ports and certificate paths.
#
#   BACKEND        tgi, vllm, openai, llamacpp or ollama: where the model server
#                  listens and which routes it has; MODEL_SERVER_URL wins
#   USHER_ENDPOINT name of the endpoint group (the Python worker did not ask)
#   REPORT_ADDR, WORKER_PORT, USE_SSL, PUBLIC_IPADDR, VAST_TCP_PORT_<port>,
#   CONTAINER_ID, WORKSPACE_DIR, MODEL_HEALTH_ENDPOINT: as they were
#   USHER_BIN      the binary; USHER_URL where to get it from if there is none
#
# Any other USHER_ variable is passed on. Exit status: that of usher; it is
# started again unless it left by itself (0) or a setting is wrong (2). A crash
# is a SIGABRT (134).
set -euo pipefail

export REPORT_ADDR="${REPORT_ADDR:-https://run.vast.ai}"
export USE_SSL="${USE_SSL:-true}"
export WORKER_PORT="${WORKER_PORT:-3000}"
WORKSPACE_DIR="${WORKSPACE_DIR:-/workspace}"
CERT_DIR="${CERT_DIR:-/etc}" # where the Python worker had it
SIGN_URL="${SIGN_URL:-https://console.vast.ai/api/v0/sign_cert/}"
LOG="$WORKSPACE_DIR/usher.log"
mkdir -p "$WORKSPACE_DIR"

# A reader of stderr that stalls or has gone must end neither this script nor
# what keeps the log.
trap '' PIPE
say() {
  local line
  line="$(date -u +%FT%TZ) start_server: $*"
  printf '%s\n' "$line" >>"$LOG" || :
  printf '%s\n' "$line" | timeout 1 cat >&2 || :
}
die() { say "$*"; exit 2; }

case "${BACKEND:-}" in
  tgi)           url=http://127.0.0.1:5001  routes=/generate,/generate_stream ;;
  vllm | openai) url=http://127.0.0.1:18000 routes=/v1/completions,/v1/chat/completions ;;
  llamacpp)      url=http://127.0.0.1:18000 routes=/v1/completions,/v1/chat/completions ;;
  ollama)        url=http://127.0.0.1:11434 routes=/v1/completions,/v1/chat/completions
                 export MODEL_HEALTH_ENDPOINT="${MODEL_HEALTH_ENDPOINT:-/api/version}" ;;
  '')            die 'BACKEND must be set: tgi, vllm, openai, llamacpp or ollama' ;;
  *)             die "BACKEND=$BACKEND is not known: set it to openai, and USHER_ROUTES to its routes" ;;
esac
export USHER_UPSTREAM_URL="${USHER_UPSTREAM_URL:-${MODEL_SERVER_URL:-$url}}"
# The Python worker's 0.0.0.0 means this machine.
USHER_UPSTREAM_URL="${USHER_UPSTREAM_URL/\/\/0.0.0.0/\/\/127.0.0.1}"
export USHER_ROUTES="${USHER_ROUTES:-$routes}"
export USHER_STATE_FILE="${USHER_STATE_FILE:-$WORKSPACE_DIR/usher.window}"
[ "${UNSECURED:-false}" = true ] && die 'UNSECURED=true is not offered: Usher verifies every ticket'

export -n USHER_BIN USHER_URL # this script's own, and no settings of usher
USHER_BIN="${USHER_BIN:-$(command -v usher || echo "$WORKSPACE_DIR/usher")}"
if [ ! -x "$USHER_BIN" ]; then
  [ -n "${USHER_URL:-}" ] || die "no usher at $USHER_BIN: set USHER_BIN, or USHER_URL to get it from"
  say "getting usher from $USHER_URL"
  curl --fail --silent --show-error --location --output "$USHER_BIN.new" "$USHER_URL" || die 'could not get usher'
  chmod +x "$USHER_BIN.new"
  mv "$USHER_BIN.new" "$USHER_BIN"
fi

# A certificate as the Python worker has it made: a new key, signed by the
# provider. One that is there already is kept.
if [ "$USE_SSL" = true ]; then
  export USHER_TLS_CERT_FILE="${USHER_TLS_CERT_FILE:-$CERT_DIR/instance.crt}"
  export USHER_TLS_KEY_FILE="${USHER_TLS_KEY_FILE:-$CERT_DIR/instance.key}"
  if [ ! -s "$USHER_TLS_CERT_FILE" ]; then
    say 'having a certificate signed'
    (umask 077 && openssl req -newkey rsa:2048 -nodes -sha256 -subj /C=US/ST=CA/CN=pyworker.vast.ai/ \
      -addext 'subjectAltName=IP:0.0.0.0' -keyout "$USHER_TLS_KEY_FILE" -out "$CERT_DIR/instance.csr" 2>/dev/null) || die 'openssl made no key'
    curl --fail --silent --show-error --header 'Content-Type: application/octet-stream' \
      --data-binary "@$CERT_DIR/instance.csr" "$SIGN_URL?instance_id=${CONTAINER_ID:-}" \
      --output "$USHER_TLS_CERT_FILE.new" || die 'the certificate was not signed'
    mv "$USHER_TLS_CERT_FILE.new" "$USHER_TLS_CERT_FILE"
  fi
fi

# A signal is passed on, so that usher drains.
child=
trap '[ -n "$child" ] && kill -TERM "$child" 2>/dev/null' TERM INT
while :; do
  "$USHER_BIN" 2> >(trap '' INT TERM; exec tee -a "$LOG" >&2) & # tee ends after usher
  child=$!
  status=0
  # Not on stderr: bash would tell of a killed one there, and wait to be read.
  wait "$child" 2>/dev/null || status=$?
  # A signal ends wait before usher has ended.
  while kill -0 "$child" 2>/dev/null; do status=0; wait "$child" 2>/dev/null || status=$?; done
  case $status in
    0 | 2) exit "$status" ;;
  esac
  say "usher ended with status $status; starting it again"
  sleep 1
done
