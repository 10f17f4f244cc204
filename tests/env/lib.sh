# What the scripts of the test environment share: where things are, how progress is told, how results and processes are kept.
# shellcheck shell=bash disable=SC2034 # what is set here is used by those who read this file
set -euo pipefail

ENVIRONMENT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/env/versions
. "$ENVIRONMENT/versions"
CACHE=${NAUTA_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nauta-test}
STATE=$CACHE/state
LOGS=$CACHE/logs
EXPORTS=$STATE/exports
export DEBIAN_FRONTEND=noninteractive

say() { printf '%4ds  %s\n' "$SECONDS" "$*" >&2; }

# fail MESSAGE [LOG]: what could not be done, and the end of the log that tells why.
fail() {
  printf 'error: %s\n' "$1" >&2
  if [ -n "${2:-}" ] && [ -s "$2" ]; then
    printf 'the last lines of %s:\n' "$2" >&2
    tail -n 20 "$2" | cut -c1-400 >&2
  fi
  exit 1
}

# logged NAME COMMAND…: runs the command with its output in a log; when it fails, so do we, with the end of the log.
logged() {
  local name=$1
  shift
  "$@" >"$LOGS/$name.log" 2>&1 </dev/null || fail "$name: \`${*:0:4} …\` failed" "$LOGS/$name.log"
}

# wait_for SECONDS COMMAND…: until the command succeeds; false when the time is over.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
}

# Two calls at once would start everything twice. The lock is on descriptor 9, which nothing that stays behind may inherit: `background` closes it.
take_lock() {
  mkdir -p "$CACHE" "$STATE" "$LOGS"
  exec 9>"$CACHE/lock"
  if ! flock --nonblock 9; then
    say "another call is at work here; waiting for it"
    flock 9
  fi
}

## Packages

installed() { [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]; }

# need PACKAGE…: installs the Debian packages that are missing.
need() {
  local missing=() package
  for package in "$@"; do
    installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "the test environment needs Debian's packages (${missing[*]}), and there is no apt-get here"
  [ "$(id -u)" = 0 ] || fail "these packages are missing: ${missing[*]}; install them, or run this as root"
  say "installing ${missing[*]}"
  without_services install_packages "${missing[@]}"
}

# Package lists are brought up to date only when they turn out to be too old or absent: that takes longer than most installations.
install_packages() {
  apt_install "$@" && return
  logged apt-update apt-get update
  apt_install "$@" || fail "cannot install: $*" "$LOGS/apt-install.log"
}

apt_install() { apt-get install -y --no-install-recommends "$@" >"$LOGS/apt-install.log" 2>&1 9>&- </dev/null; }

# The packages of dockerd, etcd and the registry would start services of their own; policy-rc.d is Debian's way to forbid it.
without_services() {
  local policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  # A subshell, so that a failure cannot leave the policy behind.
  if ("$@"); then rm -f "$policy"; else
    rm -f "$policy"
    exit 1
  fi
}

## Processes that outlive the script

# The moment a process started, so that a number that was given to another process later is not taken for ours.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# background NAME COMMAND…
background() {
  local name=$1 process
  shift
  setsid nohup "$@" >"$LOGS/$name.log" 2>&1 </dev/null 9>&- &
  process=$!
  echo "$process $(start_time "$process")" >"$STATE/$name.pid"
}

# alive NAME: whether the process that `background` started still runs.
alive() {
  local process started
  [ -f "$STATE/$1.pid" ] || return 1
  read -r process started <"$STATE/$1.pid" || return 1
  [ "$(start_time "$process")" = "$started" ] && ! grep -q '^State:.*Z' "/proc/$process/status" 2>/dev/null
}

dead() { ! alive "$1"; }

stop_process() {
  local process
  if alive "$1"; then
    read -r process _ <"$STATE/$1.pid"
    kill "$process" 2>/dev/null || true
    wait_for 30 dead "$1" || kill -9 "$process" 2>/dev/null || true
  fi
  rm -f "$STATE/$1.pid"
}

## Results that are slow to make

# key FILE-OR-TEXT…: a short name for a result, from all that it is made of. Files are given by their absolute paths.
key() {
  local part
  for part in "$@"; do
    case $part in
      /*) if [ -f "$part" ]; then cat "$part"; else printf '%s\n' "$part"; fi ;;
      *) printf '%s\n' "$part" ;;
    esac
  done | sha256sum | cut -c1-16
}

# cached PATH MAKER…: makes PATH by calling `MAKER… TEMPORARY-PATH`, unless it is there. What was interrupted leaves nothing under the final name.
cached() {
  local result=$1 partial
  shift
  if [ -e "$result" ]; then
    touch "$result"
    return
  fi
  partial=$CACHE/partial.$$.$(basename "$result")
  rm -rf "$partial"
  "$@" "$partial"
  mv "$partial" "$result"
}

# What an interrupted call left behind, and what nobody used for two weeks. Only called with the lock held, so nobody is at work on them.
tidy_cache() {
  rm -rf "$CACHE"/partial.*
  find "$CACHE" -mindepth 1 -maxdepth 1 -name '*-*' -mtime +14 -exec rm -rf {} +
}

## Docker

# The address by which containers reach the machine. Docker does not always name the gateway of a bridge that it found ready-made; it is the first address then.
gateway() {
  docker network inspect bridge -f '{{with index .IPAM.Config 0}}{{if .Gateway}}{{.Gateway}}{{else}}{{.Subnet}}{{end}}{{end}}' | sed 's#\.0/[0-9]*$#.1#'
}
