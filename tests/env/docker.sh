# Docker: the user's own daemon, or one that is started here.
# shellcheck shell=bash

docker_answers() { docker version -f '{{.Server.Version}}' >/dev/null 2>&1; }

start_docker() {
  local attempt
  if command -v docker >/dev/null && docker_answers; then
    return
  fi
  [ -z "${DOCKER_HOST:-}" ] || fail "Docker does not answer at DOCKER_HOST=$DOCKER_HOST; unset it to have a daemon started here"
  need docker.io iptables iproute2
  say "starting dockerd"
  # After a crash the first attempt may meet the old containerd as it ends.
  for attempt in 1 2 3; do
    if start_dockerd; then
      return
    fi
    cp "$LOGS/dockerd.log" "$LOGS/dockerd-attempt-$attempt.log"
    repair_networks
  done
  fail "dockerd does not start" "$LOGS/dockerd.log"
}

# The private ranges, because the registries are plain HTTP and the bridge's address is known only once the daemon runs.
start_dockerd() {
  alive dockerd || remove_stale_pid_file
  alive dockerd ||
    background dockerd dockerd --insecure-registry 10.0.0.0/8 --insecure-registry 172.16.0.0/12 --insecure-registry 192.168.0.0/16
  wait_for 60 docker_answers_or_died && docker_answers
}

# A dockerd that was killed while it made a network leaves half of it in its store, and then falls over it at every start.
repair_networks() {
  local store=/var/lib/docker/network/files/local-kv.db
  if [ -f "$store" ] && grep -q '^panic' "$LOGS/dockerd.log" && grep -q 'libnetwork' "$LOGS/dockerd.log"; then
    say "dockerd's store of networks is damaged; it is set aside as $store.damaged"
    mv "$store" "$store.damaged"
    remove_bridges
  fi
}

# The bridges of forgotten networks would catch the traffic of those that are made later with the same addresses.
remove_bridges() {
  local bridge
  for bridge in /sys/class/net/br-????????????; do
    [ ! -d "$bridge" ] || ip link delete "$(basename "$bridge")"
  done
}

# After a crash dockerd refuses to start as long as there is any process, or the remains of one, under its old number.
remove_stale_pid_file() {
  local file=/var/run/docker.pid process
  [ -f "$file" ] || return 0
  process=$(cat "$file")
  if [ "$(cat "/proc/$process/comm" 2>/dev/null)" != dockerd ] || grep -q '^State:.*Z' "/proc/$process/status" 2>/dev/null; then
    rm -f "$file"
  fi
}

docker_answers_or_died() { docker_answers || dead dockerd; }

stop_docker() {
  alive dockerd || return 0
  say "stopping dockerd"
  stop_process dockerd
}
