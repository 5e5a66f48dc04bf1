#!/usr/bin/env bash
# setup_deepspeed.sh HOME installs DeepSpeed into HOME/deepspeed, without the dependencies that the environment current has.
# DeepSpeed compiles an extension when it runs, which takes a C++ compiler.
set -euo pipefail
home=$1
packages="deepspeed==0.19.8 hjson==3.1.0 py-cpuinfo==9.0.0 ninja==1.13.2"
[ "$(cat "$home/deepspeed/.installed-from" 2>/dev/null)" = "$packages" ] && exit
echo "interop: installing deepspeed" >&2
rm -rf "$home/deepspeed"
DS_BUILD_OPS=0 DS_ACCELERATOR=cpu "$home/current/bin/pip" install -q --disable-pip-version-check --no-compile --no-deps \
  --no-build-isolation --target "$home/deepspeed" $packages
echo "$packages" >"$home/deepspeed/.installed-from"
