#!/usr/bin/env bash
# demo.sh GRIFFIN DIRECTORY converts the Orbax checkpoint and the .pt file of testdata/tiny-griffin into DIRECTORY,
# compares both results with the file that transformers saved of the same weights, and verifies one of them against the
# logits that the JAX implementation computed.
set -euo pipefail
griffin=$1 out=$2
case=$(dirname "$0")/tiny-griffin
# Settings that the tensors of a model do not contain. Those of published models are known.
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
echo "Both model.safetensors are byte for byte the file that transformers saved."
show "$griffin" verify "${settings[@]}" --golden "$case/golden/jax.safetensors" \
  --report "$out/report.html" --card "$out/card.json" "$case/original/orbax-ocdbt" "$out/from-orbax"
echo
echo "The report has plots and the digests of all tensors: $out/report.html"
