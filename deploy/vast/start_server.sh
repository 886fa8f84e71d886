#!/usr/bin/env bash
# Starts Usher in the place of the Python worker on a rented GPU machine: the
# same environment variables, ports, certificate paths and reports. A start that
# fails is reported to the autoscaler, too.
#
#   BACKEND        tgi, vllm, sglang, llamacpp, ollama, or openai for any other
#                  with its API: which model server it is (USHER_ENGINE) and where
#                  it listens; MODEL_SERVER_URL wins
#   USHER_ENDPOINT name of the endpoint group (the Python worker did not ask)
#   REPORT_ADDR, CONTAINER_ID, MASTER_TOKEN, WORKER_PORT, USE_SSL, PUBLIC_IPADDR,
#   VAST_TCP_PORT_<port>, WORKSPACE_DIR, MODEL_HEALTH_ENDPOINT: as they were
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
die() { report_failure "$*"; say "$*"; exit 2; }

# report_failure tells the first address that takes it why this worker will not
# come up. The token goes through a pipe: arguments can be read by everybody.
report_failure() {
  [ "${USHER_REPORT:-auto}" != off ] && [[ "${CONTAINER_ID:-}" =~ ^[0-9]+$ ]] || return 0
  local scheme=http port="VAST_TCP_PORT_$WORKER_PORT" address addresses
  local safe='^(https://|http://(127(\.[0-9]{1,3}){3}|localhost|\[::1])(:[0-9]+)?(/|$))' # not in clear over a network
  [ "$USE_SSL" = true ] && scheme=https
  IFS=', ' read -r -a addresses <<<"$REPORT_ADDR"
  for address in "${addresses[@]}"; do
    [[ "$address" =~ $safe ]] || [ "${USHER_REPORT_INSECURE:-false}" = true ] || continue
    printf '{"id":%s,"mtoken":"%s","version":"1.1.0","error_msg":"%s","url":"%s"}' "$CONTAINER_ID" \
      "$(json_text "${MASTER_TOKEN:-}")" "$(json_text "$1")" "$(json_text "$scheme://${PUBLIC_IPADDR:-}:${!port:-}")" |
      curl --fail --silent --max-time 10 --header 'Content-Type: application/json' --data-binary @- \
        --output /dev/null "${address%/}/worker_status/" && return 0
  done
  return 0
}
json_text() { printf %s "$1" | tr '\000-\037' ' ' | sed 's/[\\"]/\\&/g'; }

case "${BACKEND:-}" in
  # Where the templates of the Python worker have them listen.
  tgi)             url=http://127.0.0.1:5001 ;;
  vllm | llamacpp) url=http://127.0.0.1:18000 ;;
  sglang | ollama) url= ;; # on their own ports
  openai)          url=http://127.0.0.1:18000
                   export USHER_ROUTES="${USHER_ROUTES:-/v1/completions,/v1/chat/completions}" ;;
  '')              die 'BACKEND must be set: tgi, vllm, sglang, openai, llamacpp or ollama' ;;
  *)               die "BACKEND=$BACKEND is not known: set it to openai, and USHER_ROUTES to its routes" ;;
esac
[ "$BACKEND" = openai ] || export USHER_ENGINE="${USHER_ENGINE:-$BACKEND}"
export USHER_UPSTREAM_URL="${USHER_UPSTREAM_URL:-${MODEL_SERVER_URL:-$url}}"
# The Python worker's 0.0.0.0 means this machine.
USHER_UPSTREAM_URL="${USHER_UPSTREAM_URL/\/\/0.0.0.0/\/\/127.0.0.1}"
export USHER_STATE_FILE="${USHER_STATE_FILE:-$WORKSPACE_DIR/usher.window}"
# Where the Python worker has measured, Usher need not.
if [ -z "${USHER_BENCHMARK_FILE:-}" ]; then
  USHER_BENCHMARK_FILE="$WORKSPACE_DIR/.has_benchmark"
  [ -s "$WORKSPACE_DIR/vast-pyworker/.has_benchmark" ] && USHER_BENCHMARK_FILE="$WORKSPACE_DIR/vast-pyworker/.has_benchmark"
fi
export USHER_BENCHMARK_FILE
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

# sign makes a key as openssl req is told, and has it signed by the provider. What
# is no certificate of that key is no answer, whatever its status.
sign() {
  local key="$USHER_TLS_KEY_FILE.new" cert="$USHER_TLS_CERT_FILE.new" public
  (umask 077 && openssl req -newkey "$@" -nodes -sha256 -subj /C=US/ST=CA/CN=pyworker.vast.ai/ \
    -addext 'subjectAltName=IP:0.0.0.0' -keyout "$key" -out "$CERT_DIR/instance.csr" 2>/dev/null) || die 'openssl made no key'
  curl --fail --silent --show-error --retry 2 --header 'Content-Type: application/octet-stream' \
    --data-binary "@$CERT_DIR/instance.csr" "$SIGN_URL?instance_id=${CONTAINER_ID:-}" --output "$cert" || return 1
  public="$(openssl x509 -noout -pubkey -in "$cert" 2>/dev/null)" || return 1
  [ "$public" = "$(openssl pkey -pubout -in "$key" 2>/dev/null)" ] || return 1
  mv "$key" "$USHER_TLS_KEY_FILE"
  mv "$cert" "$USHER_TLS_CERT_FILE"
}

# A certificate as the Python worker has it made: a new key, signed by the
# provider. One that is there already is kept. A connection costs a third of the
# CPU with a P-256 key, so RSA, which the Python worker has, comes second.
if [ "$USE_SSL" = true ]; then
  export USHER_TLS_CERT_FILE="${USHER_TLS_CERT_FILE:-$CERT_DIR/instance.crt}"
  export USHER_TLS_KEY_FILE="${USHER_TLS_KEY_FILE:-$CERT_DIR/instance.key}"
  if [ ! -s "$USHER_TLS_CERT_FILE" ]; then
    say 'having a certificate signed'
    if ! sign ec -pkeyopt ec_paramgen_curve:P-256; then
      say 'the provider signs no P-256 key: having an RSA one signed, with which a new connection costs about three times the CPU'
      sign rsa:2048 || die 'the certificate was not signed'
    fi
  fi
fi

# A signal is passed on, so that usher drains, once for each. It is the end, also
# where it comes while no usher runs, or before usher can take it.
child= stopping= passed=
pass_on() { stopping=true; [ -n "$child" ] && kill -TERM "$child" 2>/dev/null && passed=true || :; }
trap pass_on TERM INT
while [ -z "$stopping" ]; do
  before=$(stat -c %s "$LOG" 2>/dev/null || echo 0)
  "$USHER_BIN" 2> >(trap '' INT TERM; exec tee -a "$LOG" >&2) & # tee ends after usher
  child=$!
  [ -z "$stopping" ] || [ -n "$passed" ] || pass_on # it came before the line above
  status=0
  # Not on stderr: bash would tell of a killed one there, and wait to be read.
  wait "$child" 2>/dev/null || status=$?
  # A signal ends wait before usher has ended.
  while kill -0 "$child" 2>/dev/null; do status=0; wait "$child" 2>/dev/null || status=$?; done
  child=
  case $status in
    0) exit 0 ;;
    2) # Its faults are the log's last lines, and no JSON.
      sleep 0.2
      report_failure "$(tail -c "+$((before + 1))" "$LOG" | grep -E '^(usher: |  [A-Z])' | head -n 20 | tr '\n' ';')"
      exit 2 ;;
  esac
  [ -z "$stopping" ] || exit "$status"
  say "usher ended with status $status; starting it again"
  sleep 1
done
