#!/usr/bin/env bash
# Real peer systems for interop tests, pinned, built with the ordinary Go client into a cache outside the checkout.
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

# name | built by | program below the cache | folder with go.mod and go.sum | package
PEERS='
kes          go    bin/kes               go-kes github.com/minio/kes/cmd/kes
minio        go    bin/minio             go-minio github.com/minio/minio
mc           go    bin/mc                go-mc github.com/minio/mc
minio-2021   go    bin/minio-2021        go-minio-2021 github.com/minio/minio
h2spec       go    bin/h2spec            go-h2spec github.com/summerwind/h2spec/cmd/h2spec
'
row() { awk -v n="$1" '$1 == n { print; f = 1 } END { exit !f }' <<<"$PEERS" || { echo "peers.sh: no peer '$1' (peers.sh list)" >&2; exit 2; }; }
say() { echo "peers: $*" >&2; }
usage() { sed -n 2,8p "$0" >&2; exit 2; }

# the pins: when they change, the peer is built again
pins() { { row "$1"; cat "$HERE/$2/go.mod" "$HERE/$2/go.sum"; } | sha256sum | cut -d' ' -f1; } # NAME FOLDER
quiet() { "$@" 2> >(grep -v '^go: downloading' >&2); }

install_one() { # NAME
  local name program folder package want t0=$SECONDS
  read -r name _ program folder package <<<"$(row "$1")"
  want=$(pins "$name" "$folder")
  if [ -x "$CACHE/$program" ] && [ "$(cat "$CACHE/stamp/$name" 2>/dev/null)" = "$want" ]; then say "$name: there"; return; fi
  say "$name: installing"
  quiet go build -C "$HERE/$folder" -p "$JOBS" -mod=readonly -trimpath -ldflags '-s -w' -o "$CACHE/$program.new" "$package"
  mv "$CACHE/$program.new" "$CACHE/$program"
  echo "$want" >"$CACHE/stamp/$name"; say "$name: done in $((SECONDS - t0)) s"
}
trim() { chmod -R u+w "$CACHE/go" 2>/dev/null || true; rm -rf "$CACHE/go"; }

main() {
  local cmd=${1:-} n r program; shift || true
  case $cmd in
    list) awk 'NF { print $1 }' <<<"$PEERS" ;;
    path)
      [ $# -eq 1 ] || usage
      r=$(row "$1"); read -r _ _ program _ <<<"$r"; [ -x "$CACHE/$program" ] && echo "$CACHE/$program" ;;
    install)
      [ $# -gt 0 ] || usage
      for n in "$@"; do row "$n" >/dev/null; done
      mkdir -p "$BIN" "$CACHE/stamp"; exec 9>"$CACHE/lock"; flock 9
      GOPROXY=$(go env GOPROXY); export GOPROXY=${GOPROXY%,direct} # a registry only, never a source host
      [ -n "${KEEP_GO:-}" ] || trap trim EXIT
      for n in "$@"; do install_one "$n"; done ;;
    trim) trim ;;
    *) usage ;;
  esac
}
main "$@"; exit
