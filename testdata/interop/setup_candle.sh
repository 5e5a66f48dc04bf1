#!/usr/bin/env bash
# setup_candle.sh builds the program of candle/, which runs models with candle, and prints its path. It takes 5 minutes of CPU time
# once, and needs cargo.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=${GRIFFIN_INTEROP_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/griffin-interop}
export CARGO_TARGET_DIR="$home/candle"
cargo build --quiet --release --manifest-path "$here/candle/Cargo.toml" >&2
echo "$CARGO_TARGET_DIR/release/griffin-candle"
