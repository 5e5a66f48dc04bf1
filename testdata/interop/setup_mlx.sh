#!/usr/bin/env bash
# setup_mlx.sh HOME installs mlx-lm with the CPU build of mlx into an environment of its own, HOME/mlx (350 MB).
set -euo pipefail
home=$1
packages="mlx[cpu]==0.32.4 mlx-lm==0.32.2"
[ "$(cat "$home/mlx/.installed-from" 2>/dev/null)" = "$packages" ] && exit
echo "interop: installing mlx-lm" >&2
rm -rf "$home/mlx"
"${PYTHON:-python3}" -m venv "$home/mlx"
"$home/mlx/bin/pip" install -q --disable-pip-version-check --no-compile $packages
echo "$packages" >"$home/mlx/.installed-from"
