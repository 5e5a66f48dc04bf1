#!/usr/bin/env bash
# kill.sh KILLS runs kill_test.py with every original format and target on a checkpoint that takes about a second to
# convert. The checkpoint is made once and kept beside the Python environments.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
home=$("$here/setup.sh")/mid
[ -e "$home/made" ] || { "$here/oracle.sh" big --preset mid --formats torch,orbax-ocdbt --out "$home" && touch "$home/made"; }
settings=(--attention-window=512 --logits-soft-cap=30 --embedding-scale=true)
for checkpoint in torch.pt orbax-ocdbt; do
  for target in hf torch orbax; do
    echo "== $checkpoint to $target"
    python3 "$here/kill_test.py" "$home/$checkpoint" --kills "$1" -- "${settings[@]}" --to "$target"
  done
done
