#!/bin/sh
# Installs nauta: the binary, shell completions and man pages. POSIX sh; says what it does; uninstalls too.
set -eu

usage() {
  cat <<'TEXT'
Usage: ./install.sh [--prefix DIR] [--version VERSION] [--no-modify-path] [--demo] [--uninstall]

In a checkout, builds nauta from source. Elsewhere, installs the release archive
nauta-VERSION-linux-ARCH.tar.gz that lies beside this script, after checking it
against its .sha256 file. Archives of the same version for other architectures
that lie there too are installed for clusters whose nodes have those.

  --prefix DIR        where to install to (default: /usr/local for root, else ~/.local)
  --version VERSION   which release archive (default: the only one beside this script)
  --no-modify-path    do not add DIR/bin to PATH in ~/.profile
  --demo              also make sure of Docker and of a base image, and train a small
                      model on two local nodes
  --uninstall         remove what was installed
TEXT
}

say() { printf '%s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

prefix='' version='' modify_path=yes demo=no uninstall=no
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -ge 2 ] || fail "--prefix wants a directory"; prefix=$2; shift ;;
    --version) [ $# -ge 2 ] || fail "--version wants a version"; version=$2; shift ;;
    --no-modify-path) modify_path=no ;;
    --demo) demo=yes ;;
    --uninstall) uninstall=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option $1" ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$prefix" ]; then
  if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
fi
case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac

bash_completion=share/bash-completion/completions/nauta
zsh_completion=share/zsh/site-functions/_nauta
fish_completion=share/fish/vendor_completions.d/nauta.fish

path_line="PATH=\"$prefix/bin:\$PATH\""

# Nothing half-made stays, however this ends.
unpacked=''
tidy() { rm -rf "$unpacked" "$prefix/bin/.nauta.new"; }
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

uninstall() {
  rm -f "$prefix/bin/nauta" "$prefix/$bash_completion" "$prefix/$zsh_completion" "$prefix/$fish_completion"
  rm -f "$prefix"/share/man/man1/nauta.1 "$prefix"/share/man/man1/nauta-*.1
  rm -rf "$prefix/libexec/nauta"
  if grep -qsF "$path_line" "$HOME/.profile"; then
    profile=$(mktemp)
    grep -vF "$path_line" "$HOME/.profile" >"$profile" || true
    cat "$profile" >"$HOME/.profile"
    rm -f "$profile"
  fi
  say "removed nauta from $prefix; your configuration and your runs are where they were"
}

build_from_source() {
  command -v cargo >/dev/null || fail "cargo is missing; install Rust by rustup, then run this again"
  say "building nauta from source (some minutes the first time)"
  (cd "$here" && cargo build --release --locked) || fail "the build failed"
  target=${CARGO_TARGET_DIR:-$here/target}
  binary=$(find "$target" -path '*/release/nauta' -type f | head -n 1)
  [ -n "$binary" ] || fail "the build left no binary below $target"
}

# checked ARCHIVE: whether it is what its checksum says, or we stop.
checked() {
  [ -f "$1.sha256" ] || fail "$1.sha256 is missing: the archive cannot be checked"
  (cd "$here" && sha256sum -c "$(basename "$1").sha256" >&2) || fail "$1 is damaged; get it again"
}

unpack_release() {
  if [ -n "$version" ]; then
    archive=$(find "$here" -maxdepth 1 -name "nauta-$version-linux-$(uname -m).tar.gz" | head -n 1)
  else
    archive=$(find "$here" -maxdepth 1 -name "nauta-*-linux-$(uname -m).tar.gz" | head -n 1)
  fi
  [ -n "$archive" ] || fail "no release archive for linux-$(uname -m) beside this script; in a checkout it builds from source"
  checked "$archive"
  unpacked=$(mktemp -d)
  tar -xzf "$archive" -C "$unpacked"
  binary=$unpacked/nauta
}

# What nodes of other architectures run: beside our own binary, in a folder of its version.
install_supervisors() {
  rm -rf "$prefix/libexec/nauta"
  [ -n "${archive:-}" ] || return 0
  stem=${archive%-linux-*}
  folder=$prefix/libexec/nauta/${stem##*/nauta-}
  for other in "$stem"-linux-*.tar.gz; do
    [ "$other" != "$archive" ] || continue
    checked "$other"
    name=nauta-linux-${other##*-linux-}
    name=${name%.tar.gz}
    mkdir -p "$folder"
    tar -xzOf "$other" ./nauta >"$folder/$name"
    (cd "$folder" && sha256sum "$name" >"$name.sha256")
    say "installed $name, for nodes of that architecture"
  done
}

install_files() {
  mkdir -p "$prefix/bin" "$prefix/share/man/man1"
  # In two steps, so that a nauta that runs is never overwritten in place.
  cp "$binary" "$prefix/bin/.nauta.new"
  chmod 755 "$prefix/bin/.nauta.new"
  mv "$prefix/bin/.nauta.new" "$prefix/bin/nauta"
  for pair in "bash:$bash_completion" "zsh:$zsh_completion" "fish:$fish_completion"; do
    file=$prefix/${pair#*:}
    mkdir -p "$(dirname "$file")"
    "$prefix/bin/nauta" completions "${pair%%:*}" >"$file"
  done
  "$prefix/bin/nauta" man "$prefix/share/man/man1"
  say "installed $("$prefix/bin/nauta" version) to $prefix/bin, with completions and man pages"
}

add_to_path() {
  case :$PATH: in *:"$prefix/bin":*) return 0 ;; esac
  if [ "$modify_path" = no ]; then
    say "add this to your shell's profile: $path_line"
  elif ! grep -qsF "$path_line" "$HOME/.profile"; then
    printf '%s\n' "$path_line" >>"$HOME/.profile"
    say "added $prefix/bin to PATH in ~/.profile; log in again, or run: $path_line"
  fi
}

docker_answers() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }

as_root() { [ "$(id -u)" = 0 ] || fail "$1 needs root: do it, or run this as root"; }

apt_install() {
  apt-get update >/dev/null 2>&1 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null || fail "cannot install $*"
}

make_sure_of_docker() {
  if docker_answers; then return 0; fi
  if ! command -v dockerd >/dev/null; then
    as_root "installing Docker"
    command -v apt-get >/dev/null || fail "Docker is missing; install it as your system does, then run this again"
    say "installing Docker (Debian's docker.io)"
    apt_install docker.io ca-certificates iptables
  fi
  if ! docker_answers; then
    as_root "starting Docker"
    say "starting Docker"
    if command -v systemctl >/dev/null && systemctl start docker 2>/dev/null; then :; else
      log=${TMPDIR:-/tmp}/nauta-dockerd.log
      setsid dockerd >"$log" 2>&1 </dev/null &
    fi
    i=0
    until docker_answers; do
      i=$((i + 1))
      [ $i -lt 120 ] || fail "Docker does not start; its log is ${log:-in the journal}"
      sleep 0.5
    done
  fi
}

# The demo's base image: pulled, or made from Debian packages where no registry answers.
make_sure_of_base() {
  base=debian:trixie-slim
  if docker image inspect "$base" >/dev/null 2>&1; then return 0; fi
  say "pulling $base"
  if timeout 60 docker pull -q "$base" >/dev/null 2>&1; then return 0; fi
  say "no registry has $base within reach: making it from Debian packages (a minute)"
  as_root "making a base image"
  command -v mmdebstrap >/dev/null || apt_install mmdebstrap
  sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
  mirror=$(printf '%s\n' "$sources" | tr ' ' '\n' | grep -m 1 -E '^https?://.*/debian/?$') || fail "cannot see where Debian packages come from"
  archive=$(mktemp --suffix=.tar)
  mmdebstrap --quiet --variant=minbase --include=ca-certificates trixie "$archive" "deb $mirror trixie main" || fail "the base image cannot be made"
  docker import --change 'CMD ["bash"]' "$archive" "$base" >/dev/null
  rm -f "$archive"
}

run_demo() {
  make_sure_of_docker
  make_sure_of_base
  folder=${NAUTA_DEMO:-$PWD/nauta-demo}
  if [ ! -e "$folder/nauta.toml" ]; then "$prefix/bin/nauta" init --template pytorch "$folder" >&2; fi
  say "training on two local nodes in $folder (the first time builds PyTorch's environment: some minutes)"
  cd "$folder"
  "$prefix/bin/nauta" run --local --nodes 2
  newest=$(find runs -mindepth 1 -maxdepth 1 | sort | tail -n 1)
  say "its outputs:"
  find runs -name '*.pt' -exec ls -l {} +
  say "next: change $folder/train.py and run \`nauta run --local\` again (last run: $newest)"
}

if [ "$uninstall" = yes ]; then uninstall; exit 0; fi
if [ -f "$here/Cargo.toml" ] && [ -d "$here/src" ]; then build_from_source; else unpack_release; fi
install_files
install_supervisors
add_to_path
if [ "$demo" = yes ]; then run_demo; fi
