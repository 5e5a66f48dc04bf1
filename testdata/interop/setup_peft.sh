#!/usr/bin/env bash
# Puts PEFT beside the environments of setup.sh, under $GRIFFIN_INTEROP_HOME/peft. It is apart from them because
# transformers behaves otherwise where it finds PEFT. What PEFT itself needs, current/ has.
set -euo pipefail
home=$1
version=peft==0.21.2
[ "$(cat "$home/peft/.made-from" 2>/dev/null)" = "$version" ] && exit
echo "interop: installing peft" >&2
rm -rf "$home/peft"
"$home/current/bin/pip" install -q --disable-pip-version-check --no-compile --no-deps --target "$home/peft" "$version"
echo "$version" >"$home/peft/.made-from"
