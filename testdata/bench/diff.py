"""Times griffin diff against reading alone: python3 diff.py ORBAX HF [--rounds 5]

ORBAX is a checkpoint and HF its conversion. Every round runs, in turn: a program that only decodes ORBAX on all
processors, griffin diff of both, a program that only reads two .safetensors on all processors, and griffin diff of
those, which differ in one element of the last tensor of the file. Prints the medians, what griffin takes of the
program's time, and the peak resident memory.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "interop"))

import griffin  # noqa: E402


def timed(argv, status):
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, ended, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        sys.exit(f"{' '.join(argv)}: exit {process.returncode}, not {status}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def changed(directory, scratch):
    """A copy of a checkpoint in which the last element of model.safetensors has another last bit."""
    shutil.copy(f"{directory}/config.json", scratch)
    shutil.copy(f"{directory}/model.safetensors", scratch)
    with open(f"{scratch}/model.safetensors", "r+b") as f:
        f.seek(-2, os.SEEK_END)
        low = f.read(1)[0]
        f.seek(-2, os.SEEK_END)
        f.write(bytes([low ^ 1]))
    return scratch


def main():
    parser = argparse.ArgumentParser(description=__doc__)
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
            timed(reading, 0)
            rounds = [(timed(reading, 0), timed(diff, status)) for _ in range(args.rounds)]
            for what, column in ((name, 0), (ours, 1)):
                seconds, cpu, rss = (statistics.median(r[column][i] for r in rounds) for i in range(3))
                print(f"{what:28} {seconds:6.2f} s  {cpu:6.2f} s of processors  {rss:4.0f} MiB", flush=True)
            print(f"{'':28} {statistics.median(r[1][0] / r[0][0] for r in rounds):6.2f} of the time", flush=True)


main()
