# Two registries (distribution 2.8): one anonymous, one that asks for a password.
# shellcheck shell=bash

registry_answers() { curl -sS -o /dev/null --max-time 2 -w '%{http_code}' "http://localhost:$1/v2/" 2>&1 | grep -qE '200|401'; }

registry_config() {
  local port=$1 storage=$2
  cat <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $storage}
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
http: {addr: ":$port", secret: nauta-test}
YAML
}

start_registry() {
  local name=$1 port=$2
  shift 2
  registry_answers "$port" && return 0
  need docker-registry apache2-utils curl
  say "starting the registry $name on port $port"
  mkdir -p "$STATE/$name"
  { registry_config "$port" "$STATE/$name" && printf '%s\n' "$@"; } >"$STATE/$name.yml"
  background "$name" docker-registry serve "$STATE/$name.yml"
  wait_for 20 "$name" registry_answers "$port" || fail "the registry $name does not answer" "$LOGS/$name.log"
}

start_registries() {
  need docker-registry apache2-utils curl
  if [ ! -f "$STATE/registry-password" ]; then
    (umask 077 && head -c 18 /dev/urandom | base64 >"$STATE/registry-password")
    htpasswd -Bbn ada "$(cat "$STATE/registry-password")" >"$STATE/htpasswd"
  fi
  [ -n "${NAUTA_TEST_REGISTRY:-}" ] || start_registry registry "$REGISTRY_PORT"
  start_registry registry-auth "$REGISTRY_AUTH_PORT" "auth: {htpasswd: {realm: nauta-test, path: $STATE/htpasswd}}"
}
