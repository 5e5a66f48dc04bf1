"""Times conversions of a real-size model against copying its file: python3 bench.py [--preset 2b] [--rounds 5]

Every round runs each contender once, in turn, each from a synced disk to a synced file: `cp` of the .pt, griffin from
the .pt and from the Orbax directory, and (2b) a Python script from both. With --back the source is a Hugging Face
directory: `cp` of its file, and griffin to a .pt and to Orbax, as orbax writes it and uncompressed. Prints the medians,
what they are of cp's, and the peak resident memory. The checkpoints are made in --dir and left there for the next time.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
INTEROP = os.path.join(os.path.dirname(HERE), "interop")
sys.path.insert(0, INTEROP)

import griffin  # noqa: E402


def home():
    return subprocess.run([f"{INTEROP}/setup.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make(directory, preset, kind):
    path = f"{directory}/{kind}" + (".pt" if kind == "torch" else "")
    if not os.path.exists(path):
        subprocess.run([f"{INTEROP}/oracle.sh", "big", "--preset", preset, "--formats", kind, "--out", directory],
                       check=True)
    return path


def timed(argv):
    """Seconds until what a command wrote is on the disk, and its peak RSS in MiB."""
    os.sync()
    started = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    os.sync()
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(argv)}: exit {process.returncode}\n{said.decode()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def contenders(args, python, out):
    """{what: command}. Each writes to out."""
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
    """contenders of the way back."""
    hf = f"{args.dir}/hf"
    if not os.path.exists(hf):
        subprocess.run([griffin.BINARY, "convert", make(args.dir, args.preset, "torch"), hf], check=True)
    runs = {"cp of model.safetensors": ["cp", f"{hf}/model.safetensors", out]}
    for kind in args.formats:
        to = ["torch"] if kind == "torch" else ["orbax", "--orbax-format", kind.removeprefix("orbax-")]
        runs[f"griffin to {kind}"] = [griffin.BINARY, "convert", "--to", *to, hf, out]
    return runs


def clear(out):
    """Removes what a contender wrote, and what griffin wrote beside it."""
    for path in out, out + ".conversion.json":
        shutil.rmtree(path) if os.path.isdir(path) else os.path.lexists(path) and os.remove(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="2b", choices=("2b", "9b"))
    parser.add_argument("--formats", help="default: torch,orbax-ocdbt; and orbax-ocdbt-uncompressed with --back")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds that do not count")
    parser.add_argument("--no-python", action="store_true")
    parser.add_argument("--back", action="store_true", help="from Hugging Face to the original formats")
    parser.add_argument("--dir", help="where the checkpoints are made")
    args = parser.parse_args()
    formats = "torch,orbax-ocdbt" + ",orbax-ocdbt-uncompressed" * args.back
    args.formats = (args.formats or formats).split(",")
    installed = home()
    args.dir = os.path.abspath(args.dir or f"{installed}/bench-{args.preset}")
    os.makedirs(args.dir, exist_ok=True)
    os.environ.update(JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3")
    out = f"{args.dir}/out"
    runs = back(args, out) if args.back else contenders(args, f"{installed}/current/bin/python", out)
    seconds, memory = {k: [] for k in runs}, {k: 0 for k in runs}
    for i in range(args.warm_up + args.rounds):
        for name, argv in runs.items():
            clear(out)
            took, mib = timed(argv)
            counts = i >= args.warm_up
            print(f"round {i - args.warm_up + 1 if counts else 'warm-up'}: {name}: {took:.2f} s, {mib:.0f} MiB",
                  file=sys.stderr, flush=True)
            if counts:
                seconds[name].append(took)
                memory[name] = max(memory[name], mib)
    clear(out)
    base = statistics.median(next(iter(seconds.values())))
    print(f"{f'{args.preset}, {args.rounds} rounds':38}    median    of cp      from .. to         RSS")
    for name, took in seconds.items():
        median = statistics.median(took)
        print(f"{name:38} {median:7.2f} s  {median / base:6.2f}x  {min(took):6.2f} .. {max(took):<6.2f}  "
              f"{memory[name]:7.0f} MiB")


if __name__ == "__main__":
    main()
