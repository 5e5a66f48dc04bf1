#!/usr/bin/env bash
# Converts the repository's small Orbax checkpoint and its .pt, holds both against what transformers itself saved of
# the same weights, and verifies what was converted against the logits that JAX computed: demo.sh GRIFFIN DIRECTORY
set -euo pipefail
griffin=$1 out=$2
case=$(dirname "$0")/tiny-griffin
# What the shapes of an unpublished model cannot tell. Published ones are recognised.
settings=(--attention-window 8 --logits-soft-cap 30 --embedding-scale=true)

show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

rm -rf "$out"
mkdir -p "$out"
show "$griffin" inspect "$case/original/orbax-ocdbt" | sed -n '1,24p'
show "$griffin" convert "${settings[@]}" --verify "$case/original/orbax-ocdbt" "$out/from-orbax"
show "$griffin" convert "${settings[@]}" --verify "$case/original/torch.pt" "$out/from-torch"
show cmp "$out/from-orbax/model.safetensors" "$case/hf/model.safetensors"
show cmp "$out/from-torch/model.safetensors" "$case/hf/model.safetensors"
echo
echo "from Orbax and from .pt: the very bytes that transformers saved"
show "$griffin" verify "${settings[@]}" --golden "$case/golden/jax.safetensors" \
  --report "$out/report.html" --card "$out/card.json" "$case/original/orbax-ocdbt" "$out/from-orbax"
echo
echo "plots and all digests: $out/report.html"
