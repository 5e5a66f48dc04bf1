#!/usr/bin/env bash
# Installs the Python environments of the interop checks under $GRIFFIN_INTEROP_HOME (default ~/.cache/griffin-interop)
# and prints that directory:
#   current/        current torch, transformers 5, orbax, flax, safetensors
#   transformers4/  transformers 4.57, which scripts put on PYTHONPATH before the environment's transformers 5
#   recurrentgemma/ the original implementation, without the old versions of other packages that it pins
#   2024/           torch, orbax and flax of 2024
# An environment is installed again when its requirements or the code of this script change. PyTorch does not import
# without the CUDA libraries that it is linked against; they are most of the 9 GB. Needs Python 3.11.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=${GRIFFIN_INTEROP_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/griffin-interop}
python=${PYTHON:-python3}
mkdir -p "$home"

# build NAME FUNCTION FILE... runs "FUNCTION DIR FILE..." unless DIR was completed from the same files, comments aside.
build() {
  local name=$1 make=$2 dir="$home/$1" stamp
  shift 2
  stamp=$("$python" --version; cat "$here/setup.sh" "$@" | grep -v '^ *#' | sha256sum)
  [ "$(cat "$dir/.installed-from" 2>/dev/null)" = "$stamp" ] && return
  echo "interop: installing $name" >&2
  rm -rf "$dir"
  "$make" "$dir" "$@"
  echo "$stamp" >"$dir/.installed-from"
}

# environment DIR REQUIREMENTS creates a virtual environment. Triton, the GPU compiler of torch, takes 1 GB and is not needed.
environment() {
  "$python" -m venv "$1"
  "$1/bin/pip" install -q --disable-pip-version-check --no-compile -r "$2"
  "$1/bin/pip" uninstall -q --disable-pip-version-check -y triton
}

# beside DIR PACKAGE... installs packages without their dependencies into a directory of their own.
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
