# Kubernetes: a control plane and three nodes, each a Docker container of one image; the programs come from the cache.
# shellcheck shell=bash

# shellcheck source=tests/env/nodes.sh
. "$ENVIRONMENT/nodes.sh"
# shellcheck source=tests/env/pki.sh
. "$ENVIRONMENT/pki.sh"

NODE_IMAGE=nauta-test/node:1
PAUSE_IMAGE=nauta-test/pause:1
CLUSTER=$STATE/cluster
NODE_PACKAGES=containerd,runc,containernetworking-plugins,etcd-server,iptables,iproute2,conntrack,mount,procps,kmod,ca-certificates

own_cluster() { [ -z "${NAUTA_TEST_KUBECONFIG:-}" ]; }

start_cluster() {
  local started=$SECONDS
  own_cluster || return 0
  await_binaries
  make_pki
  make_node_images
  CLUSTER_KEY=$(cluster_key)
  if ! cluster_is_this_one; then
    create_cluster
  elif cluster_healthy; then
    return 0
  elif ! wake_nodes; then
    create_cluster
  fi
  if ! settle_cluster; then
    say "the cluster does not come back to health; making it anew"
    create_cluster
    settle_cluster || fail "the cluster does not start (the logs of all nodes: $LOGS/<node>/)" "$(latest_log)"
  fi
  say "Kubernetes is ready: ${NODES[*]} (in $((SECONDS - started)) s)"
}

cluster_exports() {
  if ! own_cluster; then
    user_cluster_exports
  elif [ -f "$CLUSTER/ready" ]; then
    export_line NAUTA_TEST_KUBECONFIG "$ADMIN_CONFIG"
    export_line NAUTA_TEST_KUBECONFIG_USER "$USER_CONFIG"
    export_line NAUTA_TEST_KUBECONFIG_EXPIRED "$EXPIRED_CONFIG"
    export_line NAUTA_TEST_NAMESPACE "$NAMESPACE"
    export_line NAUTA_TEST_NAMESPACE_QUOTA "$NAMESPACE_QUOTA"
    export_line NAUTA_TEST_BIN "$(cat "$CLUSTER/ready")"
  fi
}

# What the user has set is passed on; what is not set is not known.
user_cluster_exports() {
  local name
  for name in NAUTA_TEST_KUBECONFIG NAUTA_TEST_KUBECONFIG_USER NAUTA_TEST_KUBECONFIG_EXPIRED NAUTA_TEST_NAMESPACE NAUTA_TEST_NAMESPACE_QUOTA NAUTA_TEST_BIN; do
    [ -z "${!name:-}" ] || export_line "$name" "${!name}"
  done
}

## What the nodes are made of

make_node_images() {
  local archive
  archive=$(debian_archive node "$NODE_SUITE" "$NODE_PACKAGES")
  import_image "$NODE_IMAGE" "$archive"
  archive=$(pause_archive)
  import_image "$PAUSE_IMAGE" "$archive" 'ENTRYPOINT ["/pause"]'
  PAUSE_ARCHIVE=$CACHE/pause-image-$(docker image inspect -f '{{.Id}}' "$PAUSE_IMAGE" | cut -c8-23).tar
  cached "$PAUSE_ARCHIVE" save_image "$PAUSE_IMAGE"
}

save_image() { docker save -o "$2" "$1"; }

pause_archive() {
  local archive
  archive=$CACHE/pause-$(key "$ENVIRONMENT/nodeconf/pause.c").tar
  [ -f "$archive" ] || need gcc libc6-dev
  cached "$archive" make_pause_archive
  echo "$archive"
}

make_pause_archive() {
  local root=$CACHE/partial.$$.pause-root
  mkdir -p "$root"
  logged pause gcc -Os -static -s -o "$root/pause" "$ENVIRONMENT/nodeconf/pause.c"
  archive_directory "$root" "$1"
}

# The rights that our documentation asks for: what the tests do has to work with them.
ROLE=$ENVIRONMENT/../../docs/role.yaml

# A cluster is another one when anything differs that it was made from.
cluster_key() {
  key "$ENVIRONMENT"/nodeconf/* "$ENVIRONMENT"/manifests/* "$ROLE" "$ENVIRONMENT"/{cluster.sh,nodes.sh,versions} "$PKI/key" "$PKI/ca.crt" "$KUBERNETES" "$COREDNS" \
    "$(docker image inspect -f '{{.Id}}' "$NODE_IMAGE")" "$PAUSE_ARCHIVE" "$REGISTRY" "$(registry_from_pods)" "$NODE_NET"
}

## Its life

cluster_is_this_one() {
  local name
  for name in control-plane "${NODES[@]}"; do
    [ "$(docker inspect -f '{{index .Config.Labels "nauta-test.cluster"}}' "$(container "$name")" 2>/dev/null)" = "$CLUSTER_KEY" ] || return 1
  done
}

cluster_healthy() {
  [ -f "$CLUSTER/ready" ] && dns_ready && [ "$(ready_nodes)" = ${#NODES[@]} ] && [ "$(running_containers)" = $((${#NODES[@]} + 1)) ]
}

kubectl() { "$KUBERNETES/kubectl" --kubeconfig "$ADMIN_CONFIG" --request-timeout=10s "$@"; }

api_ready() { kubectl get --raw /readyz; }

dns_ready() { [ "$(curl -s --noproxy '*' --max-time 5 "http://$(node_address control-plane):8181/ready")" = OK ]; }

ready_nodes() {
  kubectl get nodes -o jsonpath='{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null | grep -c True || true
}

all_nodes_ready() { [ "$(ready_nodes)" = ${#NODES[@]} ]; }

running_containers() { docker ps -q --filter label=nauta-test.cluster --filter status=running | wc -l; }

create_cluster() {
  local name
  remove_cluster
  say "starting the control plane and ${#NODES[@]} nodes"
  mkdir -p "$CLUSTER"
  logged network docker network create --driver bridge --subnet "$NODE_NET.0/24" --gateway "$NODE_NET.1" "$NETWORK"
  configure_control_plane
  run_node control-plane
  for name in "${NODES[@]}"; do
    configure_node "$name"
    run_node "$name"
  done
}

# Nodes that were killed, paused, or went down with Docker.
wake_nodes() {
  local name
  say "waking up the cluster"
  rm -f "$CLUSTER/ready"
  for name in control-plane "${NODES[@]}"; do
    wake_node "$name" || return 1
  done
}

# Waits until all is well, and puts in place what the tests find in the cluster.
settle_cluster() {
  wait_for 90 api_ready || return 1
  say "the API server answers"
  wait_for 30 apply_manifests || return 1
  wait_for 90 all_nodes_ready || return 1
  wait_for 60 dns_ready || return 1
  echo "$KUBERNETES" >"$CLUSTER/ready"
}

apply_manifests() {
  local file
  for file in "$ENVIRONMENT"/manifests/*.yaml; do
    sed -e "s#@REGISTRY@#$REGISTRY#g" -e "s#@REGISTRY_FROM_PODS@#$(registry_from_pods)#g" "$file"
    echo ---
  done | kubectl apply -f - >"$LOGS/manifests.log" 2>&1 || return 1
  kubectl -n nauta-test apply -f "$ROLE" >>"$LOGS/manifests.log" 2>&1
}

# The log that was written last, as the likeliest to tell what is wrong.
latest_log() { find "$LOGS" -mindepth 2 -name '*.log' -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d' ' -f2; }

## Containers

# The directory that a container finds as /etc/nauta-test.
configuration() { echo "$CLUSTER/$1"; }

# What the containers' own script needs to know, as shell variables.
common_configuration() {
  local directory node
  directory=$(configuration "$1")
  mkdir -p "$directory"
  cp "$ENVIRONMENT/nodeconf/entry" "$PKI/ca.crt" "$directory/"
  for node in "${NODES[@]}"; do
    echo "$(pod_subnet "$node") $(node_address "$node") $node"
  done >"$directory/routes"
  cat >"$directory/variables" <<SH
NAME=$1
ADDRESS=$(node_address "$1")
POD_RANGE=$POD_NET.0.0/16
SERVICE_RANGE=$SERVICE_NET.0.0/16
NODE_GRACE_SECONDS=$NODE_GRACE_SECONDS
POD_EVICTION_SECONDS=$POD_EVICTION_SECONDS
SH
}

configure_control_plane() {
  local directory
  common_configuration control-plane
  directory=$(configuration control-plane)
  cp "$PKI"/{ca.key,service-accounts.key,service-accounts.pub,kube-apiserver.crt,kube-apiserver.key,kubelet-client.crt,kubelet-client.key} "$directory/"
  cp "$PKI"/{kube-controller-manager,kube-scheduler,coredns}.kubeconfig "$ENVIRONMENT/nodeconf/Corefile" "$directory/"
}

configure_node() {
  local name=$1 directory template
  common_configuration "$name"
  directory=$(configuration "$name")
  cp "$PKI/$name.crt" "$directory/kubelet.crt"
  cp "$PKI/$name.key" "$directory/kubelet.key"
  cp "$PKI/$name.kubeconfig" "$directory/kubelet.kubeconfig"
  cp "$PKI/kube-proxy.kubeconfig" "$PAUSE_ARCHIVE" "$directory/"
  mv "$directory/$(basename "$PAUSE_ARCHIVE")" "$directory/pause.tar"
  echo "nameserver $(node_address control-plane)" >"$directory/resolv.conf"
  mkdir -p "$directory/cni"
  for template in kubelet.yaml kube-proxy.yaml containerd.toml cni/10-nauta-test.conflist; do
    sed -e "s#@NAME@#$name#g" -e "s#@DNS@#$(node_address control-plane)#g" -e "s#@POD_SUBNET@#$(pod_subnet "$name")#g" \
      -e "s#@POD_RANGE@#$POD_NET.0.0/16#g" -e "s#@PAUSE_IMAGE@#docker.io/$PAUSE_IMAGE#g" "$ENVIRONMENT/nodeconf/$(basename "$template")" >"$directory/$template"
  done
  configure_registries "$directory/certs.d"
}

# The names that images have on the workstation, as the nodes reach them. The names that pods use work too; all are plain HTTP.
configure_registries() {
  local directory=$1 outside
  outside=$(gateway)
  pull_from "$directory" "$(registry_from_pods)" "$REGISTRY" "$(registry_from_pods)"
  pull_from "$directory" "$outside:$REGISTRY_AUTH_PORT" "$REGISTRY_AUTH" "$outside:$REGISTRY_AUTH_PORT"
}

# pull_from DIRECTORY ADDRESS NAME…
pull_from() {
  local directory=$1 address=$2 name
  shift 2
  for name; do
    mkdir -p "$directory/$name"
    printf 'server = "http://%s"\n\n[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$address" "$address" >"$directory/$name/hosts.toml"
  done
}

# --privileged would also ask for CAP_SYS_RESOURCE, which a machine that is itself confined may not have to give.
run_node() {
  local name=$1 options=()
  mkdir -p "$LOGS/$name"
  rm -f "$LOGS/$name"/*.log
  [ ! -d /lib/modules ] || options+=(-v /lib/modules:/lib/modules:ro)
  # Before cgroup v2 there is no such option in some daemons, and no need of it.
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || options+=(--cgroupns=host)
  logged "run-$name" docker run -d --init --name "$(container "$name")" --hostname "$name" --network "$NETWORK" --ip "$(node_address "$name")" \
    --label "nauta-test.cluster=$CLUSTER_KEY" --cap-add=ALL --cap-drop=SYS_RESOURCE --security-opt seccomp=unconfined \
    --security-opt apparmor=unconfined --security-opt systempaths=unconfined --device-cgroup-rule='a *:* rwm' --sysctl net.ipv4.ip_forward=1 \
    -v /sys:/sys -v /sys/fs/cgroup:/sys/fs/cgroup -v /dev:/dev --tmpfs /run:exec --tmpfs /tmp:exec \
    -v /var/lib/containerd -v /var/lib/kubelet -v /var/lib/etcd -v "$LOGS/$name:/var/log/nauta-test" \
    -v "$(configuration "$name"):/etc/nauta-test:ro" -v "$KUBERNETES:/opt/kubernetes:ro" -v "$COREDNS:/opt/coredns:ro" \
    -e PATH=/opt/kubernetes:/opt/coredns:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${options[@]}" "$NODE_IMAGE" \
    /etc/nauta-test/entry
}
