# Kubernetes and CoreDNS, built from their Go modules. The cold build of Kubernetes takes a quarter of an hour on two cores.
# shellcheck shell=bash

# begin_binaries: starts the builds beside whatever else `up` does meanwhile. `await_binaries` waits for them.
begin_binaries() {
  KUBERNETES=$CACHE/kubernetes-$(key "$ENVIRONMENT"/kubernetes/{go.mod,go.sum,main.go} "$(declare -f make_kubernetes)" "$KUBERNETES_VERSION")
  COREDNS=$CACHE/coredns-$(key "$ENVIRONMENT"/coredns/{go.mod,go.sum,main.go} "$(declare -f make_coredns)")
  if [ -d "$KUBERNETES" ] && [ -d "$COREDNS" ]; then
    touch "$KUBERNETES" "$COREDNS"
    return
  fi
  need_go
  say "building Kubernetes $KUBERNETES_VERSION and CoreDNS $COREDNS_VERSION in the background (15 minutes the first time)"
  # In a process group of its own, so that all of it can be ended. It holds the lock too: were we killed, the next call would wait for it.
  set -m
  (
    cached "$KUBERNETES" make_kubernetes
    cached "$COREDNS" make_coredns
  ) &
  BUILD=$!
  set +m
  trap 'end_binaries' EXIT
}

# Interrupted by the user: nothing may stay behind at work.
end_binaries() { [ -z "${BUILD:-}" ] || kill -- "-$BUILD" 2>/dev/null || true; }

await_binaries() {
  [ -n "${BUILD:-}" ] || return 0
  say "waiting for the build of Kubernetes ($LOGS/build-kubernetes.log)"
  wait "$BUILD" || fail "Kubernetes' programs could not be built"
  BUILD=
}

need_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || fail "Kubernetes is built from its Go modules, and there is no \`go\` on the PATH. Install Go 1.25 or newer, or set NAUTA_TEST_KUBECONFIG to a cluster of your own"
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

# go_build SOURCE RESULT LINKER-FLAGS: with low priority, since somebody waits for whatever else runs at the time.
go_build() {
  (cd "$ENVIRONMENT/$1" && CGO_ENABLED=0 GOFLAGS='' GOWORK=off logged "build-$1" \
    nice go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $3" -o "$2" .)
}
