# Two registries (Debian's docker-registry, distribution 2.8): an anonymous one, and one that asks for a password.
# shellcheck shell=bash disable=SC2034 # what is set here is used by `up`

REGISTRY=${NAUTA_TEST_REGISTRY:-localhost:$REGISTRY_PORT}
REGISTRY_AUTH=localhost:$REGISTRY_AUTH_PORT
REGISTRY_USER=ada
PASSWORD_FILE=$STATE/registry-password

# A user's own registry has the same name everywhere, unless we are told another one.
registry_from_pods() { echo "${NAUTA_TEST_REGISTRY_FROM_PODS:-${NAUTA_TEST_REGISTRY:-$(gateway):$REGISTRY_PORT}}"; }

# registry_answers PORT STATUS: 200 from the anonymous one, 401 from the other, so that a foreign server on the port is not taken for ours.
registry_answers() {
  [ "$(curl -s -o /dev/null --noproxy '*' --max-time 5 -w '%{http_code}' "http://localhost:$1/v2/")" = "$2" ]
}

start_registries() {
  need docker-registry apache2-utils curl
  make_password
  [ -n "${NAUTA_TEST_REGISTRY:-}" ] || start_registry registry "$REGISTRY_PORT" 200
  start_registry registry-auth "$REGISTRY_AUTH_PORT" 401 "auth: {htpasswd: {realm: nauta-test, path: $STATE/htpasswd}}"
}

make_password() {
  [ ! -s "$STATE/htpasswd" ] || return 0
  (umask 077 && head -c 18 /dev/urandom | base64 | tr '/+' '_-' >"$PASSWORD_FILE")
  htpasswd -Bin "$REGISTRY_USER" <"$PASSWORD_FILE" 2>/dev/null >"$STATE/htpasswd.partial"
  mv "$STATE/htpasswd.partial" "$STATE/htpasswd"
}

# start_registry NAME PORT STATUS [MORE CONFIGURATION]
start_registry() {
  local name=$1 port=$2 status=$3
  shift 3
  ! registry_answers "$port" "$status" || return 0
  say "starting the $name on port $port"
  stop_process "$name"
  mkdir -p "$STATE/$name"
  { registry_config "$port" "$STATE/$name" && printf '%s\n' "$@"; } >"$STATE/$name.yml"
  background "$name" docker-registry serve "$STATE/$name.yml"
  wait_for 30 registry_answers "$port" "$status" || fail "the $name does not answer on port $port; is another server there?" "$LOGS/$name.log"
}

# No address before the port: the registry must be reached at loopback (v4 and v6, as `localhost` resolves) and at the bridge's gateway alike.
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

stop_registries() {
  local name
  for name in registry registry-auth; do
    alive "$name" || continue
    say "stopping the $name"
    stop_process "$name"
  done
}
