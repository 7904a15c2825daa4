#!/usr/bin/env bash
# Paired performance check of two KES servers. Both are started as `BIN server --config FILE`; a binary named kes-server without `server`.
#
#   run.sh [--short] BASE CANDIDATE [kes-load options]
#
#   run.sh --short kes-go target/dist/kes-server                 < 50 s, ratio lines such as `decrypt h1 c=64: 2.31x`
#   run.sh kes-go target/dist/kes-server --goals goals.txt       < 4 min, exit 2 when a goal is missed
#   LIMIT=1 run.sh --short kes-go target/dist/kes-server         adds the hyper+rustls+ring limit as third server
#   run.sh BASE CAND --measure 'decrypt h1 c=64' --reps 15                 one measure, more repetitions
#
# A ratio above 1 means that the candidate is better (base CPU per request / candidate CPU per request, base RSS / candidate RSS ...).
# Exit: 0 all measured and goals met, 1 a server or a measure failed, 2 a goal was missed, 64 usage.
# Build output goes to $PERF_TARGET (default: ${TMPDIR:-/tmp}/kes-perf-target), never beside the sources.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CARGO_TARGET_DIR=${PERF_TARGET:-${TMPDIR:-/tmp}/kes-perf-target}
short=()
[[ ${1:-} == --short ]] && { short=(--short); shift; }
(($# >= 2)) || { sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }
base=$1 cand=$2
shift 2
for b in "$base" "$cand"; do
  [[ -x $(command -v "$b") ]] || { echo "run.sh: $b is not an executable" >&2; exit 64; }
done
pkgs=(-p kes-load)
[[ -n ${LIMIT:-} ]] && pkgs+=(-p kes-limit)
# The build is not part of the measured time; it is a no-op when up to date.
cargo build --quiet --locked --manifest-path "$here/Cargo.toml" --profile tuned "${pkgs[@]}" >&2
bin=$CARGO_TARGET_DIR/tuned
third=()
[[ -n ${LIMIT:-} ]] && third=("limit=$bin/kes-limit")
exec "$bin/kes-load" pair "base=$(command -v "$base")" "cand=$(command -v "$cand")" "${third[@]}" "${short[@]}" "$@"
