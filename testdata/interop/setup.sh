#!/usr/bin/env bash
# Builds the Python environments of the interop checks under $GRIFFIN_INTEROP_HOME (default ~/.cache/griffin-interop):
#   current/        today's torch, transformers 5, orbax, flax, safetensors
#   transformers4/  transformers 4.57, put ahead of the other on PYTHONPATH: the two compute different logits
#   recurrentgemma/ the original implementation, without the old companions that it pins
#   2024/           torch, orbax and flax of 2024
# Each is built once, and again when what it is made of changes. PyTorch from the package index is linked against
# the CUDA libraries and does not import without them: they are most of the 9 GB. Python 3.11.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=${GRIFFIN_INTEROP_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/griffin-interop}
python=${PYTHON:-python3}
mkdir -p "$home"

# build NAME FUNCTION FILE... runs FUNCTION DIR unless DIR was finished from the same files.
build() {
  local name=$1 make=$2 dir="$home/$1" stamp
  shift 2
  stamp=$("$python" --version; cat "$here/setup.sh" "$@" | sha256sum)
  [ "$(cat "$dir/.made-from" 2>/dev/null)" = "$stamp" ] && return
  echo "interop: installing $name" >&2
  rm -rf "$dir"
  "$make" "$dir" "$@"
  echo "$stamp" >"$dir/.made-from"
}

# torch runs without its GPU compiler, which is 1 GB.
environment() {
  "$python" -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check --no-compile -r "$2"
  "$1/bin/pip" uninstall -q --disable-pip-version-check -y triton
}

beside() {
  local dir=$1
  shift
  "$home/current/bin/pip" install -q --disable-pip-version-check --no-compile --no-deps --target "$dir" "$@"
}
transformers4() { beside "$1" transformers==4.57.3 huggingface_hub==0.36.2 tokenizers==0.22.2; }
recurrentgemma() { beside "$1" recurrentgemma==1.0.1; }

build current environment "$here/requirements-current.txt"
build transformers4 transformers4
build recurrentgemma recurrentgemma
build 2024 environment "$here/requirements-2024.txt"
echo "$home"
