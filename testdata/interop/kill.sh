#!/usr/bin/env bash
# Makes a checkpoint that takes a moment to convert, once, and runs kill_test.py on both its forms, to each
# target: kill.sh KILLS
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
