"""Compares griffin's BLAKE3 with the package of the BLAKE3 team: python.sh blake3 digests.py [--seed N]

Tensors of random sizes, written by safetensors, have the digests that `griffin inspect --digest=blake3` prints. The files of
conversions to every target have those in conversion.json, by the script in cmd/griffin/README.md, which finds a changed byte.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import blake3
import numpy as np
from safetensors.numpy import save_file

import griffin

TARGETS = [["hf"], ["torch"], ["safetensors"]] + [["orbax", "--orbax-format", f] for f in (
    "ocdbt", "ocdbt-uncompressed", "ocdbt-zarr3", "ocdbt-zarr3-uncompressed", "zarr", "zarr-uncompressed")]


def check_tensors(score, rng, directory):
    arrays = {}
    for i in range(60):
        size = rng.choice([rng.randrange(70), rng.randrange(40000), rng.randrange(1 << 22)])
        arrays[f"t{i}"] = np.frombuffer(rng.randbytes(size), np.uint8)
    path = f"{directory}/random.safetensors"
    save_file(arrays, path)
    printed = json.loads(griffin.run("inspect", "--json", "--digest=blake3", path)[0])["tensors"]
    want = {name: blake3.blake3(array.tobytes()).hexdigest() for name, array in arrays.items()}
    score.check("tensors", griffin.differences(want, {t["name"]: t["blake3"] for t in printed}))


def check_files(score, script, directory, target):
    label = " ".join(target)
    out = f"{directory}/{'-'.join(target)}"
    record = f"{out}.conversion.json" if target[0] == "torch" else f"{out}/conversion.json"
    source = f"{griffin.REPOSITORY}/testdata/tiny-griffin/hf"
    griffin.convert(source, out, "--to", *target)
    done = subprocess.run([sys.executable, "-c", script, record], capture_output=True, text=True)
    score.check(label, done.stderr)
    largest = max(json.load(open(record))["files"], key=lambda f: f["bytes"])
    with open(os.path.join(os.path.dirname(record), largest["name"]), "r+b") as f:
        f.seek(largest["bytes"] // 2)
        byte = f.read(1)[0] ^ 1
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte]))
    done = subprocess.run([sys.executable, "-c", script, record], capture_output=True, text=True)
    score.check(f"{label}, changed", "" if f"{largest['name']} was changed" in done.stderr else f"not found: {done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    args = parser.parse_args()
    score = griffin.Score(f"digests --seed {args.seed}")
    print(f"digests: seed {args.seed}", flush=True)
    readme = open(f"{griffin.REPOSITORY}/cmd/griffin/README.md").read()
    script = re.search(r"```python\n(import hashlib.*?)```", readme, re.S)[1]
    with tempfile.TemporaryDirectory(prefix="griffin-digests-") as directory:
        check_tensors(score, random.Random(args.seed), directory)
        for target in TARGETS:
            check_files(score, script, directory, target)
    score.finish()


if __name__ == "__main__":
    main()
