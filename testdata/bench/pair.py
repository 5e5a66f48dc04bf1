"""Compares the speed and memory of two griffin binaries: python3 pair.py BEFORE AFTER DIR [--rounds 5] [--limit 1.03]

DIR holds torch.pt and orbax-ocdbt, two checkpoints of the same weights (`oracle.sh big` in ../interop makes them), and
needs room for two conversions. If DIR/hf is missing, BEFORE makes it from torch.pt. Each operation is measured on its
own:

  convert torch    torch.pt to a Hugging Face directory
  convert orbax    orbax-ocdbt to a Hugging Face directory
  verify weights   hf against torch.pt
  diff             orbax-ocdbt and hf, which are equal

After one round that does not count, every round runs each binary once; the order alternates from round to round.
Conversions are timed until their output is on the disk. For each operation the script prints the medians, the ratio of
the medians (after / before), the range, the ratio of processor time, and the peak resident memory. It exits with status
1 if a ratio of time or memory is above the limit.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys

import measure


def operations(directory):
    """{name: (arguments, output path or None)} of what is measured."""
    torch, orbax, hf, out = (f"{directory}/{name}" for name in ("torch.pt", "orbax-ocdbt", "hf", "out"))
    return {
        "convert torch": (["convert", torch, out], out),
        "convert orbax": (["convert", orbax, out], out),
        "verify weights": (["verify", torch, hf], None),
        "diff": (["diff", orbax, hf], None),
    }


def measured(binaries, argv, out, rounds):
    """A list of Runs for each binary."""
    runs = [[] for _ in binaries]
    for i in range(-1, rounds):
        order = range(len(binaries)) if i % 2 else reversed(range(len(binaries)))
        for which in order:
            if out:
                shutil.rmtree(out, ignore_errors=True)
            run = measure.run([binaries[which], *argv], sync=bool(out))
            if i >= 0:
                runs[which].append(run)
    if out:
        shutil.rmtree(out, ignore_errors=True)
    return runs


def report(name, runs):
    """Prints one operation and returns its ratios of time and memory."""
    seconds = [statistics.median(r.seconds for r in column) for column in runs]
    cpu = [statistics.median(r.cpu for r in column) for column in runs]
    mib = [max(r.mib for r in column) for column in runs]
    for label, column, median, peak in zip(("before", "after"), runs, seconds, mib):
        low, high = min(r.seconds for r in column), max(r.seconds for r in column)
        print(f"{name:15} {label:7} {median:7.2f} s  {low:6.2f} .. {high:<6.2f} {peak:6.0f} MiB")
    ratio = [after / before for before, after in (seconds, cpu, mib)]
    print(f"{name:15} ratio   {ratio[0]:7.3f}    processor time {ratio[1]:.3f}  memory {ratio[2]:.3f}", flush=True)
    return ratio[0], ratio[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("dir")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.03, help="largest ratio of time or memory (default: 1.03)")
    parser.add_argument("--only", help="operations to measure, separated by commas (default: all)")
    args = parser.parse_args()
    binaries = [os.path.abspath(args.before), os.path.abspath(args.after)]
    directory = os.path.abspath(args.dir)
    if not os.path.exists(f"{directory}/hf"):
        subprocess.run([binaries[0], "convert", f"{directory}/torch.pt", f"{directory}/hf"], check=True,
                       stdout=subprocess.DEVNULL)
    chosen = operations(directory)
    if args.only:
        chosen = {name: chosen[name] for name in args.only.split(",")}
    exceeded = []
    for name, (argv, out) in chosen.items():
        if max(report(name, measured(binaries, argv, out, args.rounds))) > args.limit:
            exceeded.append(name)
    if exceeded:
        sys.exit(f"above the limit of {args.limit}: {', '.join(exceeded)}")


if __name__ == "__main__":
    main()
