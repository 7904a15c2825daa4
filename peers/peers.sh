#!/usr/bin/env bash
# Real peer systems for interop tests, pinned, installed with ordinary package clients into a cache outside the checkout.
#   peers.sh list              what can be installed
#   peers.sh install NAME…     install (idempotent; safe to run twice at once)
#   peers.sh path NAME         absolute path of the peer's program; exit 1 if it is not installed
#   peers.sh trim              drop Go's download and build caches, keep the programs (install does it at its end)
# Cache: ${KES_PEERS:-$HOME/.cache/kes-peers}.  JOBS=2 limits build jobs.  KEEP_GO=1 keeps Go's caches (1 to 3 GB a peer).
# What each is good for: README.md beside this file.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
CACHE=${KES_PEERS:-$HOME/.cache/kes-peers}
BIN=$CACHE/bin JOBS=${JOBS:-2}
export GOMODCACHE=$CACHE/go/mod GOCACHE=$CACHE/go/build GOFLAGS=-buildvcs=false GOTOOLCHAIN=local GOWORK=off

# name | kind | program below the cache, or a command of the system | what the kind needs
PEERS='
kes          go    bin/kes               go-kes github.com/minio/kes/cmd/kes
kes-2023     go    bin/kes-2023          go-kes-2023 github.com/minio/kes/cmd/kes
minio        go    bin/minio             go-minio github.com/minio/minio
mc           go    bin/mc                go-mc github.com/minio/mc
minio-2021   go    bin/minio-2021        go-minio-2021 github.com/minio/minio
h2spec       go    bin/h2spec            go-h2spec github.com/summerwind/h2spec/cmd/h2spec
vault        vault bin/vault             1.21.4
vault-k8s    go    bin/vault-plugin-auth-kubernetes go-vault-plugin-auth-kubernetes github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes
moto         py    venv/moto/bin/moto_server          py-moto.txt
standins     py    venv/standins/bin/python            py-standins.txt
nginx        apt   /usr/sbin/nginx       nginx-light
chromium     apt   chromium              chromium
zsh          apt   zsh                   zsh
fish         apt   fish                  fish
man          apt   man                   man-db
'
row() { awk -v n="$1" '$1 == n { print; f = 1 } END { exit !f }' <<<"$PEERS" || { echo "peers.sh: no peer '$1' (peers.sh list)" >&2; exit 2; }; }
say() { echo "peers: $*" >&2; }
usage() { sed -n 2,8p "$0" >&2; exit 2; }

path_of() { # KIND PROGRAM
  if [ "$1" = apt ]; then command -v "$2"; else [ -x "$CACHE/$2" ] && echo "$CACHE/$2"; fi
}
# the pins: when they change, the peer is built again
pins() { # NAME KIND NEEDS
  { row "$1"; case $2 in go) cat "$HERE/$3/go.mod" "$HERE/$3/go.sum" ;; vault) cat "$HERE"/vault/* ;; py) cat "$HERE/$3" ;; esac; } | sha256sum | cut -d' ' -f1
}
quiet() { "$@" 2> >(grep -v '^go: downloading' >&2); }
registry_only() { GOPROXY=$(go env GOPROXY); export GOPROXY=${GOPROXY%,direct}; } # never a source host

install_go() { # PROGRAM FOLDER PACKAGE
  registry_only
  quiet go build -C "$HERE/$2" -p "$JOBS" -mod=readonly -trimpath -ldflags '-s -w' -o "$CACHE/$1.new" "$3"
  mv "$CACHE/$1.new" "$CACHE/$1"
}
# Vault's own go.mod points five modules at folders that its archive does not hold, and the published sdk that it names is
# a little older than that folder was: drop those replacements, add the sums, and bridge three calls (vault/patch.sed).
install_vault() { # PROGRAM VERSION
  registry_only
  local src=$CACHE/src/vault m
  (cd "$HERE/vault" && go mod download "github.com/hashicorp/vault@v$2")
  rm -rf "$src"; mkdir -p "$CACHE/src"
  cp -r "$GOMODCACHE/github.com/hashicorp/vault@v$2" "$src"; chmod -R u+w "$src"
  for m in api api/auth/approle api/auth/kubernetes api/auth/userpass sdk; do (cd "$src" && go mod edit -dropreplace "github.com/hashicorp/vault/$m"); done
  cat "$HERE/vault/extra.sum" >>"$src/go.sum"
  (cd "$src" && sed -i -f "$HERE/vault/patch.sed" builtin/logical/transit/path_restore.go vault/identity_store.go vault/logical_system_activation_flags.go)
  quiet go build -C "$src" -p "$JOBS" -mod=readonly -tags minimal -trimpath -ldflags '-s -w' -o "$CACHE/$1.new" .
  mv "$CACHE/$1.new" "$CACHE/$1"; rm -rf "$src"
}
install_py() { # PROGRAM REQUIREMENTS
  local v; v=$CACHE/$(cut -d/ -f1-2 <<<"$1")
  rm -rf "$v"; python3 -m venv "$v"; "$v/bin/pip" install --quiet --no-deps -r "$HERE/$2"
}
install_apt() { # PROGRAM PACKAGE…
  shift; [ -n "${APT_FRESH:-}" ] || { apt-get update -qq; APT_FRESH=1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
install_one() { # NAME
  local name kind program needs want t0=$SECONDS
  read -r name kind program needs <<<"$(row "$1")"
  want=$(pins "$name" "$kind" "${needs%% *}")
  if path_of "$kind" "$program" >/dev/null && { [ "$kind" = apt ] || [ "$(cat "$CACHE/stamp/$name" 2>/dev/null)" = "$want" ]; }; then say "$name: there"; return; fi
  say "$name: installing"
  # shellcheck disable=SC2086 # several words on purpose
  "install_$kind" "$program" $needs
  path_of "$kind" "$program" >/dev/null || { say "$name: installed, but $program is missing"; return 1; }
  echo "$want" >"$CACHE/stamp/$name"; say "$name: done in $((SECONDS - t0)) s"
}
trim() { chmod -R u+w "$CACHE/go" 2>/dev/null || true; rm -rf "$CACHE/go" "$CACHE/src"; }

main() {
  local cmd=${1:-} n r kind program; shift || true
  case $cmd in
    list) awk 'NF { print $1 }' <<<"$PEERS" ;;
    path)
      [ $# -eq 1 ] || usage
      r=$(row "$1"); read -r _ kind program _ <<<"$r"; path_of "$kind" "$program" ;;
    install)
      [ $# -gt 0 ] || usage
      for n in "$@"; do row "$n" >/dev/null; done
      mkdir -p "$BIN" "$CACHE/stamp"; exec 9>"$CACHE/lock"; flock 9
      [ -n "${KEEP_GO:-}" ] || trap trim EXIT
      for n in "$@"; do install_one "$n"; done ;;
    trim) trim ;;
    *) usage ;;
  esac
}
main "$@"; exit
