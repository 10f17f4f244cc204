# Base images, made from Debian's packages: the tests need no public registry.
# shellcheck shell=bash disable=SC2016,SC2153 # the hooks of mmdebstrap expand $1 themselves; REGISTRY is set in registry.sh

IMAGE_PYTHON=nauta-test/python:1
IMAGE_PYTORCH=nauta-test/pytorch:1
IMAGE_BUSYBOX=nauta-test/busybox:1
IMAGE_MPI=nauta-test/mpi:1
IMAGE_DEBIAN=nauta-test/debian:1

# What no container of the tests reads; every node pulls these images, so bytes are time.
SLIM='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/debconf/*-old "$1"/var/log/* "$1"/usr/share/doc/* "$1"/usr/share/man/* \
  "$1"/usr/share/info/* "$1"/usr/share/locale/* "$1"/usr/share/lintian/*'
# NumPy's tests are not removed: NumPy itself imports them.
SLIM_PYTORCH='cd "$1"/usr/lib/python3/dist-packages && rm -rf ../../libtorch-test torch/bin/test* torch/include &&
  find scipy sympy sklearn networkx -depth -type d -name tests -exec rm -rf {} +'
# Open MPI's package wants an SSH client, which is not to be what starts the ranks.
WITHOUT_SSH='rm -f "$1"/usr/bin/ssh* "$1"/usr/bin/slogin "$1"/usr/bin/scp "$1"/usr/bin/sftp'
SLIM_MPI='cd "$1"/usr/lib/python3/dist-packages && find scipy sklearn -depth -type d -name tests -exec rm -rf {} +'
PYTHON_LINK='ln -sf python3 "$1"/usr/bin/python'

make_images() {
  local archive packages
  log_in
  archive=$(busybox_archive)
  publish "$IMAGE_BUSYBOX" "$archive" "$REGISTRY" "$REGISTRY_AUTH"
  packages=python3,python3-pip,python3-venv,ca-certificates
  archive=$(debian_archive python "$PYTHON_SUITE" "$packages" "$PYTHON_LINK")
  publish "$IMAGE_PYTHON" "$archive" "$REGISTRY" "$REGISTRY_AUTH"
  packages=python3,python3-pip,python3-torch,python3-numpy,python3-sklearn,ca-certificates
  archive=$(debian_archive pytorch "$PYTORCH_SUITE" "$packages" "$PYTHON_LINK" "$ENVIRONMENT/torch-without-libuv" "$SLIM_PYTORCH")
  publish "$IMAGE_PYTORCH" "$archive" "$REGISTRY"
  packages=python3,openmpi-bin,python3-mpi4py,python3-numpy,python3-sklearn,ca-certificates
  archive=$(debian_archive mpi "$PYTORCH_SUITE" "$packages" "$PYTHON_LINK" "$WITHOUT_SSH" "$SLIM_MPI")
  publish "$IMAGE_MPI" "$archive" "$REGISTRY"
  # What `debian:trixie-slim` of the templates is.
  archive=$(debian_archive debian "$PYTORCH_SUITE" ca-certificates)
  publish "$IMAGE_DEBIAN" "$archive" "$REGISTRY"
}

# publish IMAGE ARCHIVE REGISTRY…
publish() {
  local image=$1 archive=$2 registry
  shift 2
  import_image "$image" "$archive"
  for registry in "$@"; do
    push_image "$image" "$registry"
  done
}

## Root file systems

# debian_archive NAME SUITE PACKAGES [HOOK…]: prints the path of a tar archive in the cache. Files keep their times: Python's byte code
# counts only with the very time of its source, and containers that are not root could not make it anew.
debian_archive() {
  local name=$1 suite=$2 archive
  archive=$CACHE/$name-$(key "$@" "$SLIM" "$(declare -f make_debian_archive)").tar
  cached "$archive" make_debian_archive "$@"
  echo "$archive"
}

make_debian_archive() {
  local name=$1 suite=$2 packages=$3 archive=${*: -1} hooks=() hook
  shift 3
  need mmdebstrap debian-archive-keyring
  say "making the root file system \`$name\` from Debian $suite packages (one to five minutes)"
  for hook in "${@:1:$#-1}" "$SLIM"; do
    hooks+=(--customize-hook="$hook")
  done
  logged "make-$name" mmdebstrap --variant=minbase --format=tar --include="$packages" \
    --aptopt='Acquire::Retries "5"' --dpkgopt=force-unsafe-io "${hooks[@]}" "$suite" "$archive" "deb $(debian_mirror) $suite main"
}

# The mirror that this machine's own packages come from: it is the one that can be reached.
debian_mirror() {
  local mirror=${NAUTA_TEST_DEBIAN_MIRROR:-}
  if [ -z "$mirror" ]; then
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed -n 's/^Debian Debian //p' | head -n 1)
  fi
  [ -n "$mirror" ] || fail "apt knows no Debian mirror here; run apt-get update, or name one in NAUTA_TEST_DEBIAN_MIRROR"
  echo "$mirror"
}

busybox_archive() {
  local archive
  need busybox-static
  archive=$CACHE/busybox-$(key "$(command -v busybox)" "$(declare -f make_busybox_archive)").tar
  cached "$archive" make_busybox_archive
  echo "$archive"
}

make_busybox_archive() {
  local archive=$1 root applet
  root=$CACHE/partial.$$.busybox-root
  mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp}
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  archive_directory "$root" "$archive"
}

# archive_directory DIRECTORY ARCHIVE: with nothing of this machine or moment in it.
archive_directory() { tar -C "$1" --sort=name --mtime=@1700000000 --owner=0 --group=0 --numeric-owner -cf "$2" . && rm -rf "$1"; }

## Docker and the registries

# import_image IMAGE ARCHIVE [CHANGE…]: into Docker, unless it was made from this very archive. The label remembers.
import_image() {
  local image=$1 archive=$2 made changes=() change
  made=$(docker image inspect -f '{{index .Config.Labels "nauta-test.archive"}}' "$image" 2>/dev/null || true)
  [ "$made" != "$(basename "$archive")" ] || return 0
  for change in 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "LABEL nauta-test.archive=$(basename "$archive")" \
    'CMD ["/bin/sh"]' "${@:3}"; do
    changes+=(--change "$change")
  done
  say "importing $image into Docker"
  logged "import-$(basename "$archive" .tar)" docker import "${changes[@]}" "$archive" "$image"
}

# The login is kept away from the user's own configuration: tests find out what happens without one.
registry_docker() { docker --config "$STATE/docker-config" "$@"; }

log_in() {
  mkdir -p "$STATE/docker-config"
  registry_docker login -u "$REGISTRY_USER" --password-stdin "$REGISTRY_AUTH" <"$PASSWORD_FILE" >"$LOGS/login.log" 2>&1 9>&- ||
    fail "cannot log in at $REGISTRY_AUTH" "$LOGS/login.log"
}

# push_image IMAGE REGISTRY: unless the registry has it already.
push_image() {
  local image=$1 registry=$2
  docker tag "$image" "$registry/$image"
  ! in_registry "$image" "$registry" || return 0
  say "pushing $image to $registry"
  logged "push-$(echo "$registry-$image" | tr ':/' '__')" registry_docker push "$registry/$image"
}

# Docker remembers under which digest it pushed an image; the registry tells which one it has.
in_registry() {
  local image=$1 registry=$2 digest
  digest=$(curl -sI --noproxy '*' --max-time 10 -K <(registry_credentials "$registry") \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$registry/v2/${image%:*}/manifests/${image##*:}" |
    tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')
  [ -n "$digest" ] && docker image inspect -f '{{join .RepoDigests "\n"}}' "$image" | grep -qFx "$registry/${image%:*}@$digest"
}

# A curl configuration, so that the password is in no argument list.
registry_credentials() {
  [ "$1" != "$REGISTRY_AUTH" ] || echo "user = \"$REGISTRY_USER:$(cat "$PASSWORD_FILE")\""
}
