"""Compares the time of griffin diff with that of reading its input: python3 diff.py ORBAX HF [--rounds 5]

ORBAX is a checkpoint and HF the Hugging Face directory converted from it. Two comparisons are measured: ORBAX with HF,
which are equal, against a program that only decodes ORBAX on all processors (pace/main.go); and HF with a copy that
differs in the last element of the last tensor, against a program that only reads both files. Prints the medians, the
ratio, and the peak resident memory.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))

import griffin  # noqa: E402
import measure  # noqa: E402


def changed(directory, scratch):
    """A copy of a checkpoint in which the lowest bit of the last element of model.safetensors is flipped."""
    shutil.copy(f"{directory}/config.json", scratch)
    shutil.copy(f"{directory}/model.safetensors", scratch)
    with open(f"{scratch}/model.safetensors", "r+b") as f:
        f.seek(-2, os.SEEK_END)
        low = f.read(1)[0]
        f.seek(-2, os.SEEK_END)
        f.write(bytes([low ^ 1]))
    return scratch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orbax")
    parser.add_argument("hf")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(args.hf))) as scratch:
        pace = f"{scratch}/pace"
        subprocess.run(["go", "build", "-o", pace, "./pace"], cwd=HERE, check=True)
        os.mkdir(f"{scratch}/other")
        other = changed(args.hf, f"{scratch}/other")
        pairs = [
            ("decoding the Orbax side", [pace, "decode", args.orbax], "griffin diff, equal", [griffin.BINARY, "diff", args.orbax, args.hf], 0),
            ("reading both files", [pace, "read", f"{args.hf}/model.safetensors", f"{other}/model.safetensors"],
             "griffin diff, one element", [griffin.BINARY, "diff", args.hf, other], 1),
        ]
        for name, reading, ours, diff, status in pairs:
            measure.run(reading)
            rounds = [(measure.run(reading), measure.run(diff, status)) for _ in range(args.rounds)]
            for what, column in ((name, 0), (ours, 1)):
                seconds, cpu, rss = (statistics.median(r[column][i] for r in rounds) for i in range(3))
                print(f"{what:28} {seconds:6.2f} s  {cpu:6.2f} s of processor time  {rss:4.0f} MiB", flush=True)
            print(f"{'':28} {statistics.median(r[1][0] / r[0][0] for r in rounds):6.2f} times as long", flush=True)


main()
