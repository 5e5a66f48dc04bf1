"""Compares the time of conversions in a published size with that of copying the file: python3 bench.py [--preset 2b]

Every round runs each of these once, each from a synced disk until its output is on the disk: `cp` of the .pt, griffin
from the .pt and from the Orbax directory, and for 2b the script convert_2b.py from both. With --back the source is a
Hugging Face directory: `cp` of its file, and griffin to a .pt, to Orbax with zstd and to uncompressed Orbax. Prints the
medians, their ratio to the median of cp, and the peak resident memory. The checkpoints are made in --dir, by default
beside the Python environments, and kept there.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
INTEROP = os.path.join(os.path.dirname(HERE), "interop")
sys.path.insert(0, INTEROP)

import griffin  # noqa: E402
import measure  # noqa: E402


def home():
    """The directory of the Python environments, which are installed if they are missing."""
    return subprocess.run([f"{INTEROP}/setup.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make(directory, preset, kind):
    """The path of a checkpoint in that format, which is made if it is missing."""
    path = f"{directory}/{kind}" + (".pt" if kind == "torch" else "")
    if not os.path.exists(path):
        subprocess.run([f"{INTEROP}/oracle.sh", "big", "--preset", preset, "--formats", kind, "--out", directory],
                       check=True)
    return path


def forward(args, python, out):
    """{name: command} of the conversions to Hugging Face. Each writes to out."""
    runs = {}
    if "torch" in args.formats:
        pt = make(args.dir, args.preset, "torch")
        runs["cp of the .pt, sync"] = ["cp", pt, out]
        runs["griffin from .pt"] = [griffin.BINARY, "convert", pt, out]
        if args.preset == "2b" and not args.no_python:
            runs["Python from .pt"] = [python, f"{HERE}/convert_2b.py", "torch", pt, out]
    for kind in args.formats:
        if not kind.startswith("orbax"):
            continue
        src = make(args.dir, args.preset, kind)
        if "torch" not in args.formats:
            runs[f"cp of {kind}, sync"] = ["cp", "-r", src, out]
        runs[f"griffin from {kind}"] = [griffin.BINARY, "convert", src, out]
        if args.preset == "2b" and kind == "orbax-ocdbt" and not args.no_python:
            runs["Python from " + kind] = [python, f"{HERE}/convert_2b.py", "orbax", src, out]
    return runs


def back(args, out):
    """{name: command} of the conversions from Hugging Face. Each writes to out."""
    hf = f"{args.dir}/hf"
    if not os.path.exists(hf):
        subprocess.run([griffin.BINARY, "convert", make(args.dir, args.preset, "torch"), hf], check=True)
    runs = {"cp of model.safetensors": ["cp", f"{hf}/model.safetensors", out]}
    for kind in args.formats:
        to = ["torch"] if kind == "torch" else ["orbax", "--orbax-format", kind.removeprefix("orbax-")]
        runs[f"griffin to {kind}"] = [griffin.BINARY, "convert", "--to", *to, hf, out]
    return runs


def clear(out):
    """Removes the output of a command, and the conversion.json that griffin writes beside a file."""
    for path in out, out + ".conversion.json":
        shutil.rmtree(path) if os.path.isdir(path) else os.path.lexists(path) and os.remove(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="2b", choices=("2b", "9b"))
    parser.add_argument("--formats", help="default: torch,orbax-ocdbt; and orbax-ocdbt-uncompressed with --back")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before those that count (default: 1)")
    parser.add_argument("--no-python", action="store_true")
    parser.add_argument("--back", action="store_true", help="convert from Hugging Face to the original formats")
    parser.add_argument("--dir", help="the directory of the checkpoints")
    args = parser.parse_args()
    formats = "torch,orbax-ocdbt" + ",orbax-ocdbt-uncompressed" * args.back
    args.formats = (args.formats or formats).split(",")
    installed = home()
    args.dir = os.path.abspath(args.dir or f"{installed}/bench-{args.preset}")
    os.makedirs(args.dir, exist_ok=True)
    os.environ.update(JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3")
    out = f"{args.dir}/out"
    runs = back(args, out) if args.back else forward(args, f"{installed}/current/bin/python", out)
    seconds, memory = {k: [] for k in runs}, {k: 0 for k in runs}
    for i in range(args.warm_up + args.rounds):
        for name, argv in runs.items():
            clear(out)
            run = measure.run(argv, sync=True)
            counts = i >= args.warm_up
            print(f"round {i - args.warm_up + 1 if counts else 'warm-up'}: {name}: {run.seconds:.2f} s, {run.mib:.0f} MiB",
                  file=sys.stderr, flush=True)
            if counts:
                seconds[name].append(run.seconds)
                memory[name] = max(memory[name], run.mib)
    clear(out)
    base = statistics.median(next(iter(seconds.values())))
    print(f"{f'{args.preset}, {args.rounds} rounds':38}    median    of cp      from .. to         RSS")
    for name, took in seconds.items():
        median = statistics.median(took)
        print(f"{name:38} {median:7.2f} s  {median / base:6.2f}x  {min(took):6.2f} .. {max(took):<6.2f}  "
              f"{memory[name]:7.0f} MiB")


if __name__ == "__main__":
    main()
