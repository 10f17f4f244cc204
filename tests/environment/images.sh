# Base images, made from Debian packages since no public registry is needed for the tests.
# shellcheck shell=bash

# What no container of the tests reads.
# shellcheck disable=SC2016 # the hooks expand $1 themselves
SLIM='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*'

# root_file_system NAME SUITE PACKAGES: a tar archive in the cache.
root_file_system() {
  local name=$1 suite=$2 packages=$3 archive
  archive=$CACHE/$name-$(key "$suite" "$packages" "$SLIM").tar
  if [ ! -f "$archive" ]; then
    need mmdebstrap
    say "making the root file system $name from Debian $suite packages (a minute or more)"
    logged "$name" mmdebstrap --variant=minbase --include="$packages" \
      --customize-hook='ln -sf python3 "$1"/usr/bin/python' --customize-hook="$SLIM" \
      "$suite" "$archive.partial.tar" "$(mirror | sed "s#^#deb #; s#\$# $suite main#")"
    mv "$archive.partial.tar" "$archive"
  fi
  echo "$archive"
}

busybox_file_system() {
  local archive root
  archive=$CACHE/busybox-1.tar
  if [ ! -f "$archive" ]; then
    need busybox-static
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,tmp,etc,dev,proc,sys}
    chmod 1777 "$root/tmp"
    cp /bin/busybox "$root/bin/"
    "$root/bin/busybox" --list | grep -v '^busybox$' | while read -r applet; do ln -s busybox "$root/bin/$applet"; done
    tar -C "$root" -cf "$archive.partial" . && mv "$archive.partial" "$archive"
    rm -rf "$root"
  fi
  echo "$archive"
}

# import_image NAME ARCHIVE: into Docker, unless this very archive is there.
import_image() {
  local image=$1 archive=$2 made
  made=$(docker image inspect -f '{{index .Config.Labels "nauta-test.archive"}}' "$image" 2>/dev/null || true)
  [ "$made" = "$(basename "$archive")" ] && return 0
  say "importing $image"
  logged "import-$(basename "$archive")" docker import \
    --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    --change "LABEL nauta-test.archive=$(basename "$archive")" --change 'CMD ["sh"]' "$archive" "$image"
}

# push_image IMAGE HOST…: so that nodes can pull it and nauta finds it in the registry.
push_image() {
  local image=$1 host id
  shift
  for host in "$@"; do
    id=$(docker image inspect -f '{{.Id}}' "$image")
    [ "$(cat "$STATE/pushed-${host//[:\/]/_}-${image//[:\/]/_}" 2>/dev/null)" = "$id" ] && continue
    say "pushing $image to $host"
    docker tag "$image" "$host/$image"
    logged "push-${image//[:\/]/_}" docker push "$host/$image"
    echo "$id" >"$STATE/pushed-${host//[:\/]/_}-${image//[:\/]/_}"
  done
}

make_images() {
  local auth=localhost:$REGISTRY_AUTH_PORT open=${NAUTA_TEST_REGISTRY:-localhost:$REGISTRY_PORT} archive
  docker login -u ada --password-stdin "$auth" <"$STATE/registry-password" >/dev/null 2>&1 || fail "cannot log in at $auth"
  archive=$(busybox_file_system)
  import_image nauta-test/busybox:1 "$archive"
  push_image nauta-test/busybox:1 "$open" "$auth"
  archive=$(root_file_system python "$PYTHON_SUITE" python3,python3-pip,python3-venv,ca-certificates)
  import_image nauta-test/python:1 "$archive"
  push_image nauta-test/python:1 "$open" "$auth"
  archive=$(root_file_system pytorch "$PYTORCH_SUITE" python3,python3-pip,python3-torch,python3-numpy,python3-sklearn,ca-certificates)
  import_image nauta-test/pytorch:1 "$archive"
  push_image nauta-test/pytorch:1 "$open"
}
