# Programs built from their Go modules: Kubernetes (a quarter of an hour cold, on two cores), CoreDNS and distribution 3.
# shellcheck shell=bash

# begin_binaries PROGRAM…: starts the builds beside whatever else `up` does meanwhile. `await_binaries` waits for them.
begin_binaries() {
  KUBERNETES=$CACHE/kubernetes-$(key "$ENVIRONMENT"/kubernetes/{go.mod,go.sum,main.go} "$(declare -f make_kubernetes)" "$KUBERNETES_VERSION")
  COREDNS=$CACHE/coredns-$(key "$ENVIRONMENT"/coredns/{go.mod,go.sum,main.go} "$(declare -f make_coredns)")
  DISTRIBUTION=$CACHE/distribution-$(key "$ENVIRONMENT"/distribution/{go.mod,go.sum,main.go} "$(declare -f make_distribution)")
  local program missing=()
  for program in "$@"; do
    if [ -d "$(place "$program")" ]; then touch "$(place "$program")"; else missing+=("$program"); fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  need_go "${missing[*]}"
  say "building ${missing[*]} in the background (17 minutes for all of them the first time)"
  # In a process group of its own, so that all of it can be ended. It holds the lock too: were we killed, the next call would wait for it.
  set -m
  (
    for program in "${missing[@]}"; do cached "$(place "$program")" "make_$program"; done
  ) &
  BUILD=$!
  set +m
  trap 'end_binaries' EXIT
}

# place PROGRAM: its folder in the cache.
place() {
  case $1 in
    kubernetes) echo "$KUBERNETES" ;;
    coredns) echo "$COREDNS" ;;
    distribution) echo "$DISTRIBUTION" ;;
  esac
}

# Interrupted by the user: nothing may stay behind at work.
end_binaries() { [ -z "${BUILD:-}" ] || kill -- "-$BUILD" 2>/dev/null || true; }

await_binaries() {
  [ -n "${BUILD:-}" ] || return 0
  say "waiting for the builds (logs: $LOGS/build-*.log)"
  wait "$BUILD" || fail "a program could not be built"
  BUILD=
}

need_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || fail "$1: built from Go modules, and there is no \`go\` on the PATH. Install Go 1.25 or newer (a cluster of your own, NAUTA_TEST_KUBECONFIG, makes Kubernetes and CoreDNS superfluous)"
}

make_kubernetes() {
  local directory=$1 program minor=${KUBERNETES_VERSION#v1.} version=k8s.io/component-base/version
  mkdir -p "$directory"
  go_build kubernetes "$directory/kubernetes" \
    "-X $version.gitVersion=$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*} -X $version.gitTreeState=clean"
  for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
    ln -s kubernetes "$directory/$program"
  done
}

make_coredns() {
  mkdir -p "$1"
  go_build coredns "$1/coredns" "-X github.com/coredns/coredns/coremain.GitCommit=${COREDNS_VERSION#v}"
}

make_distribution() {
  mkdir -p "$1"
  go_build distribution "$1/registry" "-X github.com/distribution/distribution/v3/version.version=v3.0.0"
}

# go_build SOURCE RESULT LINKER-FLAGS: with low priority, since somebody waits for whatever else runs at the time.
go_build() {
  (cd "$ENVIRONMENT/$1" && CGO_ENABLED=0 GOFLAGS='' GOWORK=off logged "build-$1" \
    nice go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $3" -o "$2" .)
}
