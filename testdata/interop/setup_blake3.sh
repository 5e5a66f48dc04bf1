#!/usr/bin/env bash
# setup_blake3.sh HOME installs the BLAKE3 team's package for Python into HOME/blake3.
set -euo pipefail
home=$1
version=blake3==1.0.11
[ "$(cat "$home/blake3/.installed-from" 2>/dev/null)" = "$version" ] && exit
echo "interop: installing blake3" >&2
rm -rf "$home/blake3"
"$home/current/bin/pip" install -q --disable-pip-version-check --no-compile --no-deps --target "$home/blake3" "$version"
echo "$version" >"$home/blake3/.installed-from"
