#!/usr/bin/env bash
# setup_bitsandbytes.sh HOME installs bitsandbytes into HOME/bitsandbytes (130 MB), without its dependencies, which the environment
# current has. It is not in that environment because transformers behaves differently when it finds it.
set -euo pipefail
home=$1
version=bitsandbytes==0.50.2
[ "$(cat "$home/bitsandbytes/.installed-from" 2>/dev/null)" = "$version" ] && exit
echo "interop: installing bitsandbytes" >&2
rm -rf "$home/bitsandbytes"
"$home/current/bin/pip" install -q --disable-pip-version-check --no-compile --no-deps --target "$home/bitsandbytes" "$version"
echo "$version" >"$home/bitsandbytes/.installed-from"
