# Docker: a user's own, or a daemon started here.
# shellcheck shell=bash

docker_answers() { docker version -f '{{.Server.Version}}' >/dev/null 2>&1; }

start_docker() {
  if command -v docker >/dev/null && docker_answers; then
    return 0
  fi
  [ -z "${DOCKER_HOST:-}" ] || fail "Docker does not answer at DOCKER_HOST=$DOCKER_HOST; unset it to have a daemon started here"
  need docker.io ca-certificates iptables
  say "starting dockerd"
  rm -f /var/run/docker.pid
  background dockerd dockerd
  wait_for 60 dockerd docker_answers || fail "dockerd does not start" "$LOGS/dockerd.log"
}
