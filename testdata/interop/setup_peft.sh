#!/usr/bin/env bash
# setup_peft.sh HOME installs PEFT into HOME/peft, without its dependencies, which the environment current has. PEFT is
# not in that environment because transformers behaves differently when it finds PEFT.
set -euo pipefail
home=$1
version=peft==0.21.2
[ "$(cat "$home/peft/.installed-from" 2>/dev/null)" = "$version" ] && exit
echo "interop: installing peft" >&2
rm -rf "$home/peft"
"$home/current/bin/pip" install -q --disable-pip-version-check --no-compile --no-deps --target "$home/peft" "$version"
echo "$version" >"$home/peft/.installed-from"
