# The nodes as Docker containers: their names and addresses, and how they are lost and come back.
# shellcheck shell=bash

NODES=(node-1 node-2 node-3)
NETWORK=nauta-test

container() { echo "nauta-test-$1"; }

# Fixed addresses, so that routes and certificates stay right when a node comes back.
node_address() {
  case $1 in
    control-plane) echo "$NODE_NET.2" ;;
    node-*) echo "$NODE_NET.$((10 + ${1#node-}))" ;;
  esac
}

pod_subnet() { echo "$POD_NET.${1#node-}.0/24"; }

# The processes of pods live in cgroups of their own beside the container's (see nodeconf/entry), so Docker's pause would leave them running.
freeze_pods() {
  local name=$1 frozen=$2 v1=/sys/fs/cgroup/freezer/nauta-test-$1/freezer.state v2=/sys/fs/cgroup/nauta-test-$1/cgroup.freeze
  if [ -f "$v1" ]; then
    if [ "$frozen" = 1 ]; then echo FROZEN >"$v1"; else echo THAWED >"$v1"; fi
  elif [ -f "$v2" ]; then
    echo "$frozen" >"$v2"
  else
    say "the pods of $name have no cgroup that could be frozen"
  fi
}

node_status() { docker inspect -f '{{.State.Status}}' "$(container "$1")" 2>/dev/null || echo absent; }

pause_node() {
  docker pause "$(container "$1")" >/dev/null
  freeze_pods "$1" 1
}

resume_node() {
  freeze_pods "$1" 0
  docker unpause "$(container "$1")" >/dev/null
}

# Frozen processes do not die, so they are thawed after the kill was sent.
kill_node() {
  [ "$(node_status "$1")" != paused ] || resume_node "$1"
  docker kill "$(container "$1")" >/dev/null
}

# wake_node NODE: whatever was done to it.
wake_node() {
  case $(node_status "$1") in
    running) ;;
    paused) resume_node "$1" ;;
    absent) fail "there is no container $(container "$1"); tests/env/up makes it" ;;
    *) docker start "$(container "$1")" >/dev/null ;;
  esac
}

remove_cluster() {
  local name
  rm -rf "$STATE/cluster"
  for name in control-plane "${NODES[@]}"; do
    [ "$(node_status "$name")" != paused ] || resume_node "$name"
    docker rm -f -v "$(container "$name")" >/dev/null 2>&1 || true
  done
  ! docker network inspect "$NETWORK" >/dev/null 2>&1 || docker network rm "$NETWORK" >/dev/null
  remove_cgroups
}

# The cgroups of pods outlive the container. They go from the leaves to the root; one that still has a dying process in it is tried again.
remove_cgroups() { wait_for 5 try_remove_cgroups || say "some cgroups named nauta-test-node-* are still in use"; }

try_remove_cgroups() {
  local directory
  for directory in /sys/fs/cgroup/nauta-test-node-* /sys/fs/cgroup/*/nauta-test-node-*; do
    [ ! -d "$directory" ] || find "$directory" -depth -type d -exec rmdir {} +
  done
}
