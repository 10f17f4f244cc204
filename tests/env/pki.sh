# Certificates and kubeconfigs of the cluster, made with openssl. They outlive the cluster, so an exported kubeconfig is good for the next one too.
# shellcheck shell=bash disable=SC2034 # what is set here is used by `up`

PKI=$STATE/pki
ADMIN_CONFIG=$PKI/admin.kubeconfig
USER_CONFIG=$PKI/ada.kubeconfig
EXPIRED_CONFIG=$PKI/expired.kubeconfig
NAMESPACE=nauta-test
NAMESPACE_QUOTA=nauta-quota

make_pki() {
  local made node
  made=$(key "$ENVIRONMENT/pki.sh" "$NODE_NET" "$SERVICE_NET" "${NODES[@]}")
  if [ "$(cat "$PKI/key" 2>/dev/null)" = "$made" ] && openssl x509 -checkend 86400 -noout -in "$PKI/ca.crt" >/dev/null; then
    return
  fi
  need openssl
  say "making certificates and kubeconfigs"
  rm -rf "$PKI"
  (umask 077 && mkdir -p "$PKI")
  logged openssl make_certificates
  kubeconfig "$ADMIN_CONFIG" admin default
  kubeconfig "$USER_CONFIG" ada "$NAMESPACE"
  kubeconfig "$EXPIRED_CONFIG" expired "$NAMESPACE"
  for node in kube-controller-manager kube-scheduler kube-proxy coredns "${NODES[@]}"; do
    kubeconfig "$PKI/$node.kubeconfig" "$node" default
  done
  echo "$made" >"$PKI/key"
}

make_certificates() {
  local node
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=nauta-test -keyout "$PKI/ca.key" -out "$PKI/ca.crt" \
    -addext keyUsage=critical,keyCertSign,cRLSign
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$PKI/service-accounts.key"
  openssl pkey -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub"
  certificate kube-apiserver /CN=kube-apiserver 364 \
    "IP:$(node_address control-plane),IP:127.0.0.1,IP:$SERVICE_NET.0.1,DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client 364
  certificate kube-controller-manager /CN=system:kube-controller-manager 364
  certificate kube-scheduler /CN=system:kube-scheduler 364
  certificate kube-proxy /CN=system:kube-proxy 364
  certificate coredns /CN=system:coredns 364
  for node in "${NODES[@]}"; do
    certificate "$node" "/O=system:nodes/CN=system:node:$node" 364 "IP:$(node_address "$node"),DNS:$node"
  done
  certificate admin /O=system:masters/CN=admin 364
  certificate ada /O=data-scientists/CN=ada 364
  certificate expired /O=data-scientists/CN=ada -1
}

# certificate NAME SUBJECT DAYS [ALTERNATIVE-NAMES]
certificate() {
  local name=$1 subject=$2 days=$3 names=${4:-}
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" -keyout "$PKI/$name.key" -out "$PKI/$name.csr"
  {
    echo extendedKeyUsage=clientAuth,serverAuth
    [ -z "$names" ] || echo "subjectAltName=$names"
  } >"$PKI/$name.extensions"
  openssl x509 -req -in "$PKI/$name.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days "$days" -extfile "$PKI/$name.extensions" -out "$PKI/$name.crt"
  rm "$PKI/$name.csr" "$PKI/$name.extensions"
}

# kubeconfig FILE CERTIFICATE NAMESPACE: all in one file, so that it can be copied anywhere.
kubeconfig() {
  local file=$1 name=$2 namespace=$3
  (umask 077 && cat >"$file") <<YAML
apiVersion: v1
kind: Config
clusters:
- name: nauta-test
  cluster:
    server: https://$(node_address control-plane):6443
    certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
- name: $name
  user:
    client-certificate-data: $(base64 -w0 "$PKI/$name.crt")
    client-key-data: $(base64 -w0 "$PKI/$name.key")
contexts:
- name: nauta-test
  context: {cluster: nauta-test, user: $name, namespace: $namespace}
current-context: nauta-test
YAML
}
