# Docker: the user's own daemon, or one that is started here.
# shellcheck shell=bash

docker_answers() { docker version -f '{{.Server.Version}}' >/dev/null 2>&1; }

start_docker() {
  if command -v docker >/dev/null && docker_answers; then
    return
  fi
  [ -z "${DOCKER_HOST:-}" ] || fail "Docker does not answer at DOCKER_HOST=$DOCKER_HOST; unset it to have a daemon started here"
  need docker.io iptables iproute2
  say "starting dockerd"
  # The private ranges, because the registries are plain HTTP and the bridge's address is known only once the daemon runs.
  alive dockerd || background dockerd dockerd --insecure-registry 10.0.0.0/8 --insecure-registry 172.16.0.0/12 --insecure-registry 192.168.0.0/16
  wait_for 60 docker_answers_or_died
  docker_answers || fail "dockerd does not start" "$LOGS/dockerd.log"
}

docker_answers_or_died() { docker_answers || dead dockerd; }

stop_docker() {
  alive dockerd || return 0
  say "stopping dockerd"
  stop_process dockerd
}
