# Shared by the scripts of the test environment: where things are, how progress is told, how things are kept.
# shellcheck shell=bash
set -euo pipefail

ENVIRONMENT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/environment/versions
. "$ENVIRONMENT/versions"
CACHE=${NAUTA_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nauta-test}
STATE=$CACHE/state
LOGS=$CACHE/logs
mkdir -p "$CACHE" "$STATE" "$LOGS"
export DEBIAN_FRONTEND=noninteractive

say() { printf '%4ds  %s\n' "$SECONDS" "$*" >&2; }

# fail MESSAGE [LOG]: says what could not be done, and the end of the log that tells why.
fail() {
  printf 'error: %s\n' "$1" >&2
  if [ -n "${2:-}" ] && [ -f "$2" ]; then
    printf 'the end of %s:\n' "$2" >&2
    tail -n 20 "$2" >&2
  fi
  exit 1
}

# logged NAME COMMAND…: runs it with its output in a log, and fails with the log's end.
logged() {
  local name=$1
  shift
  "$@" >"$LOGS/$name.log" 2>&1 </dev/null || fail "$name: \`$*\` failed" "$LOGS/$name.log"
}

# need PACKAGE…: installs Debian packages that are missing.
need() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || fail "missing packages: ${missing[*]}; install them, or run this as root"
  say "installing ${missing[*]}"
  [ -n "${APT_UPDATED:-}" ] || logged apt-update apt-get update
  APT_UPDATED=1
  # The engines are started by these scripts, not by the packages.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  logged apt-install apt-get install -y --no-install-recommends "${missing[@]}"
  rm -f /usr/sbin/policy-rc.d
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
  : "$what"
}

# background NAME COMMAND…: starts a process that outlives this script; its number is kept in the state directory.
background() {
  local name=$1
  shift
  setsid nohup "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
  echo $! >"$STATE/$name.pid"
}

# alive NAME: whether a process started by `background` still runs (and is not another one with the same number).
alive() {
  [ -f "$STATE/$1.pid" ] && kill -0 "$(cat "$STATE/$1.pid")" 2>/dev/null &&
    ! grep -q '^State:.*Z' "/proc/$(cat "$STATE/$1.pid")/status" 2>/dev/null
}

stop_process() {
  alive "$1" || return 0
  kill "$(cat "$STATE/$1.pid")" 2>/dev/null || true
  wait_for 20 "$1" eval "! alive $1" || kill -9 "$(cat "$STATE/$1.pid")" 2>/dev/null || true
  rm -f "$STATE/$1.pid"
}

# key FILE-OR-TEXT…: a name for a result, from what it is made of.
key() {
  local part
  for part in "$@"; do
    if [ -f "$part" ]; then cat "$part"; else printf '%s\n' "$part"; fi
  done | sha256sum | cut -c1-16
}

# The mirror that this machine's own Debian packages come from.
mirror() {
  local sources
  sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
  grep -m 1 -oE 'https?://[^ ]+/debian/?$' <<<"$(tr ' ' '\n' <<<"$sources")" || fail "cannot see where Debian packages come from"
}

gateway() { docker network inspect bridge -f '{{(index .IPAM.Config 0).Gateway}}'; }
