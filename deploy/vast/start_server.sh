#!/usr/bin/env bash
# Starts Usher instead of the Python worker on a rented GPU machine, with the same
# environment variables, ports, certificate paths and reports. If the start fails,
# that is reported to the autoscaler too.
#
#   BACKEND        the model server (USHER_ENGINE): tgi, vllm, sglang, llamacpp,
#                  ollama, or openai for any other with OpenAI's API. It also says
#                  where the model server listens, unless MODEL_SERVER_URL is set
#   USHER_ENDPOINT name of the endpoint group (the Python worker did not need it)
#   REPORT_ADDR, CONTAINER_ID, MASTER_TOKEN, WORKER_PORT, USE_SSL, PUBLIC_IPADDR,
#   VAST_TCP_PORT_<port>, WORKSPACE_DIR, MODEL_HEALTH_ENDPOINT: as for the Python worker
#   USHER_BIN      the binary
#   USHER_URL      where to download it if there is none
#
# All other USHER_ variables are passed on. The exit status is that of usher, which
# is started again unless it ended normally (0) or a setting is wrong (2). A crash
# is a SIGABRT (134).
set -euo pipefail

export REPORT_ADDR="${REPORT_ADDR:-https://run.vast.ai}"
export USE_SSL="${USE_SSL:-true}"
export WORKER_PORT="${WORKER_PORT:-3000}"
WORKSPACE_DIR="${WORKSPACE_DIR:-/workspace}"
CERT_DIR="${CERT_DIR:-/etc}" # where the Python worker keeps it
SIGN_URL="${SIGN_URL:-https://console.vast.ai/api/v0/sign_cert/}"
SIGN_TIMEOUT="${SIGN_TIMEOUT:-60}" # seconds, of one attempt
LOG="$WORKSPACE_DIR/usher.log"
mkdir -p "$WORKSPACE_DIR"

# If the reader of stderr stalls or goes away, neither this script nor the process
# that writes the log may end.
trap '' PIPE
say() {
  local line
  line="$(date -u +%FT%TZ) start_server: $*"
  printf '%s\n' "$line" >>"$LOG" || :
  printf '%s\n' "$line" | timeout 1 cat >&2 || :
}
die() { report_failure "$*"; say "$*"; exit 2; }

# report_failure reports why this worker will not start, to the first address that
# accepts the report. The token goes through a pipe, since anyone can read arguments.
report_failure() {
  [ "${USHER_REPORT:-auto}" != off ] && [[ "${CONTAINER_ID:-}" =~ ^[0-9]+$ ]] || return 0
  local scheme=http port="VAST_TCP_PORT_$WORKER_PORT" address addresses
  local safe='^(https://|http://(127(\.[0-9]{1,3}){3}|localhost|\[::1])(:[0-9]+)?(/|$))' # not unencrypted over a network
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
  # Where the model servers listen in the templates of the Python worker.
  tgi)             url=http://127.0.0.1:5001 ;;
  vllm | llamacpp) url=http://127.0.0.1:18000 ;;
  sglang | ollama) url= ;; # on their default ports
  openai)          url=http://127.0.0.1:18000
                   export USHER_ROUTES="${USHER_ROUTES:-/v1/completions,/v1/chat/completions}" ;;
  '')              die 'BACKEND must be set: tgi, vllm, sglang, openai, llamacpp or ollama' ;;
  *)               die "BACKEND=$BACKEND is not known: set it to openai, and USHER_ROUTES to its routes" ;;
esac
[ "$BACKEND" = openai ] || export USHER_ENGINE="${USHER_ENGINE:-$BACKEND}"
export USHER_UPSTREAM_URL="${USHER_UPSTREAM_URL:-${MODEL_SERVER_URL:-$url}}"
# The Python worker's settings say 0.0.0.0 for this machine.
USHER_UPSTREAM_URL="${USHER_UPSTREAM_URL/\/\/0.0.0.0/\/\/127.0.0.1}"
export USHER_STATE_FILE="${USHER_STATE_FILE:-$WORKSPACE_DIR/usher.window}"
# If the Python worker has run its benchmark, Usher need not.
if [ -z "${USHER_BENCHMARK_FILE:-}" ]; then
  USHER_BENCHMARK_FILE="$WORKSPACE_DIR/.has_benchmark"
  [ -s "$WORKSPACE_DIR/vast-pyworker/.has_benchmark" ] && USHER_BENCHMARK_FILE="$WORKSPACE_DIR/vast-pyworker/.has_benchmark"
fi
export USHER_BENCHMARK_FILE
[ "${UNSECURED:-false}" = true ] && die 'UNSECURED=true is not offered: Usher verifies every ticket'

export -n USHER_BIN USHER_URL # for this script, not settings of usher
USHER_BIN="${USHER_BIN:-$(command -v usher || echo "$WORKSPACE_DIR/usher")}"
if [ ! -x "$USHER_BIN" ]; then
  [ -n "${USHER_URL:-}" ] || die "no usher at $USHER_BIN: set USHER_BIN, or USHER_URL to get it from"
  say "getting usher from $USHER_URL"
  curl --fail --silent --show-error --location --connect-timeout 10 --speed-limit 1024 --speed-time 60 --output "$USHER_BIN.new" "$USHER_URL" || die 'could not get usher'
  chmod +x "$USHER_BIN.new"
  mv "$USHER_BIN.new" "$USHER_BIN"
fi

# sign makes a key with these arguments of openssl req and has the provider sign it.
# An answer that is not a certificate for that key is a failure, whatever its status.
sign() {
  local key="$USHER_TLS_KEY_FILE.new" cert="$USHER_TLS_CERT_FILE.new" public
  (umask 077 && openssl req -newkey "$@" -nodes -sha256 -subj /C=US/ST=CA/CN=pyworker.vast.ai/ \
    -addext 'subjectAltName=IP:0.0.0.0' -keyout "$key" -out "$CERT_DIR/instance.csr" 2>/dev/null) || die 'openssl made no key'
  curl --fail --silent --show-error --retry 2 --connect-timeout 10 --max-time "$SIGN_TIMEOUT" --header 'Content-Type: application/octet-stream' \
    --data-binary "@$CERT_DIR/instance.csr" "$SIGN_URL?instance_id=${CONTAINER_ID:-}" --output "$cert" || return 1
  public="$(openssl x509 -noout -pubkey -in "$cert" 2>/dev/null)" || return 1
  [ "$public" = "$(openssl pkey -pubout -in "$key" 2>/dev/null)" ] || return 1
  mv "$key" "$USHER_TLS_KEY_FILE"
  mv "$cert" "$USHER_TLS_CERT_FILE"
}

# Get a certificate as the Python worker does: make a new key and have the provider
# sign it. An existing certificate is kept, and so are two pairs. The Python worker uses
# RSA; Usher tries P-256 first, with which a new connection costs a third of the CPU.
if [ "$USE_SSL" = true ]; then
  export USHER_TLS_CERT_FILE="${USHER_TLS_CERT_FILE:-$CERT_DIR/instance.crt}"
  export USHER_TLS_KEY_FILE="${USHER_TLS_KEY_FILE:-$CERT_DIR/instance.key}"
  if [[ "$USHER_TLS_CERT_FILE" != *,* ]] && [ ! -s "$USHER_TLS_CERT_FILE" ]; then
    say 'having a certificate signed'
    if ! sign ec -pkeyopt ec_paramgen_curve:P-256; then
      say 'the provider signs no P-256 key: having an RSA one signed, with which a new connection costs about three times the CPU'
      sign rsa:2048 || die 'the certificate was not signed'
    fi
  fi
fi

# log_since_start prints what this usher has logged, once that matches a pattern or after
# a number of tenths of a second: tee may need a moment.
log_since_start() {
  local text
  for _ in $(seq "$2"); do
    text=$(tail -c "+$((before + 1))" "$LOG" | grep -E "$1") && break
    sleep 0.1
  done
  [ -z "$text" ] || printf '%s\n' "$text"
}

# Each signal is passed on once, so that usher drains. This script ends after it too,
# even if the signal comes while no usher runs, or before usher handles signals. SIGHUP
# has usher reload its files.
child= stopping= passed= caught= told=
pass_on() { stopping=true caught=true; [ -n "$child" ] && kill -TERM "$child" 2>/dev/null && passed=true || :; }
trap pass_on TERM INT
trap 'caught=true; [ -z "$child" ] || kill -HUP "$child" 2>/dev/null || :' HUP
while [ -z "$stopping" ]; do
  before=$(stat -c %s "$LOG" 2>/dev/null || echo 0)
  "$USHER_BIN" 2> >(trap '' INT TERM HUP; exec tee -a "$LOG" >&2) & # tee ends after usher
  child=$!
  [ -z "$stopping" ] || [ -n "$passed" ] || pass_on # the signal came before child was set
  status=0
  # Not to stderr: bash would report a killed process there, and block if nobody reads.
  wait "$child" 2>/dev/null || status=$?
  # A signal interrupts wait, whose status is then the signal's. Waiting again returns
  # usher's, even if usher has ended in the meantime.
  while [ -n "$caught" ]; do caught= status=0; wait "$child" 2>/dev/null || status=$?; done
  child=
  case $status in
    0) exit 0 ;;
    2) # Its errors are the last lines of the log, and not JSON.
      report_failure "$(log_since_start '^(usher: |  [A-Z])' 50 | head -n 20 | tr '\n' ';')"
      exit 2 ;;
  esac
  [ -z "$stopping" ] || exit "$status"
  # One that never listened, for example because its port is taken, reports nothing itself.
  if [ -n "$(log_since_start listening 1)" ]; then
    told=
  elif [ -z "$told" ]; then
    told=true
    report_failure "usher ended with status $status: $(log_since_start . 10 | tail -n 3 | tr '\n' ';')"
  fi
  say "usher ended with status $status; starting it again"
  sleep 1
done
