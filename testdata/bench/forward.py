"""Compares the forward pass with that of transformers in the size of 2B: python3 forward.py [--tokens 128,512]

Every round runs each of these once, on the same cores, with the weights in the page cache:

- `griffin golden --random N --logits-only`, the whole process, from its start until the logits are on the disk, and
  transformers' forward pass alone, in float32, of a model that is in memory, without a cache, of N random tokens;
- with --verify, `griffin verify SRC CONVERTED --golden` of a fixture of 128 tokens with hidden states;
- with --generate, `griffin generate` of as many tokens as it says, and reading the mapped file in a loop that does
  nothing else.

Prints medians, the ratio to transformers' forward pass of as many tokens or to the rate of reading, and the peak resident
memory. The checkpoints are made in --dir, by default beside the Python environments, and kept there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import bench
import griffin
import measure

ROOT = os.path.dirname(os.path.dirname(bench.HERE))

FORWARD = """
import sys, time, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
print("ready", flush=True)
for line in sys.stdin:
    tokens = torch.randint(0, model.config.vocab_size, (1, int(line)))
    started = time.monotonic()
    with torch.no_grad():
        model(tokens, use_cache=False)
    print(time.monotonic() - started, flush=True)
"""


class Transformers:
    """A process with the model in memory."""

    def __init__(self, python, directory):
        self.process = subprocess.Popen([python, "-c", FORWARD, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("transformers: the process ended; are there 11 GB of memory?")
        return line

    def seconds(self, tokens):
        """How long a forward pass of so many tokens takes."""
        print(tokens, file=self.process.stdin, flush=True)
        return float(self.read())


def cached(path):
    """Reads a file, so that it is in the page cache."""
    with open(path, "rb") as f:
        while f.read(16 << 20):
            pass


def reading_rate(program, weights):
    """The rate in bytes a second at which both cores read a mapped file."""
    out = subprocess.run([program, "-test.run", "^$", "-test.bench", "Read", "-test.benchtime", "5x", "-file", weights],
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    fields = next(line for line in out.splitlines() if line.startswith("BenchmarkRead")).split()
    return float(fields[fields.index("MB/s") - 1]) * 1e6


def generate(hf, tokens, weights):
    """The rates in bytes a second of decoding, and of all of `griffin generate`, that reads the weights for each token."""
    argv = [griffin.BINARY, "generate", hf, "--tokens", "2,3,4", "--max-tokens", str(tokens), "--ignore-eos", "--json"]
    started = time.monotonic()
    out = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    size = os.path.getsize(weights)
    return out["tokens_per_second"] * size, tokens * size / (time.monotonic() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="128,512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before those that count (default: 1)")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--generate", type=int, default=0, metavar="TOKENS")
    parser.add_argument("--dir", help="the directory of the checkpoints: torch.pt and hf")
    args = parser.parse_args()
    installed = bench.home()
    args.dir = os.path.abspath(args.dir or f"{installed}/bench-2b")
    hf, pt = f"{args.dir}/hf", f"{args.dir}/torch.pt"
    if not os.path.exists(hf):
        os.makedirs(args.dir, exist_ok=True)
        subprocess.run([griffin.BINARY, "convert", bench.make(args.dir, "2b", "torch"), hf], check=True)
    weights = f"{hf}/model.safetensors"
    lengths = [int(n) for n in args.tokens.split(",")]
    seconds, memory, rates = {}, {}, {}

    def note(name, run, counts):
        print(f"{name}: {run.seconds:.2f} s, {run.cpu:.2f} s of CPU, {run.mib:.0f} MiB", file=sys.stderr, flush=True)
        if counts:
            seconds.setdefault(name, []).append(run.seconds)
            memory[name] = max(memory.get(name, 0), run.mib)

    with tempfile.TemporaryDirectory() as temporary:
        out, fixture, reader = (f"{temporary}/{name}" for name in ("out.safetensors", "fixture.safetensors", "ceiling.test"))
        transformers = Transformers(f"{installed}/current/bin/python", hf)
        if args.verify:
            subprocess.run([griffin.BINARY, "golden", pt, "--random", "128", "--out", fixture], check=True, stdout=subprocess.DEVNULL)
        if args.generate:
            subprocess.run(["go", "test", "-c", "-o", reader, "./reference/internal/ceiling"], check=True, cwd=ROOT)
        for i in range(args.warm_up + args.rounds):
            counts = i >= args.warm_up
            print(f"round {i - args.warm_up + 1 if counts else 'warm-up'}", file=sys.stderr)
            for n in lengths:
                cached(weights)
                note(f"griffin golden --random {n}", measure.run([griffin.BINARY, "golden", hf, "--random", str(n), "--logits-only", "--out", out]), counts)
                os.remove(out)
                note(f"transformers, {n} tokens", measure.Run(transformers.seconds(n), 0, 0), counts)
            if args.verify:
                cached(pt)
                note("griffin verify --golden", measure.run([griffin.BINARY, "verify", pt, hf, "--golden", fixture]), counts)
            if args.generate:
                cached(weights)
                decoding, whole = generate(hf, args.generate, weights)
                for name, rate in ("decoding", decoding), (f"generate of {args.generate} tokens", whole), ("reading", reading_rate(reader, weights)):
                    print(f"{name}: {rate / 1e9:.1f} GB/s", file=sys.stderr, flush=True)
                    if counts:
                        rates.setdefault(name, []).append(rate)
        transformers.process.stdin.close()
        transformers.process.wait()

    base = {n: statistics.median(seconds[f"transformers, {n} tokens"]) for n in lengths}
    print(f"{f'2b, {args.rounds} rounds':34}   median    ratio      from .. to          RSS")
    for name, took in seconds.items():
        n = 128 if "verify" in name else int("".join(c for c in name if c.isdigit()))
        median = statistics.median(took)
        ratio = f"{median / base[n]:6.2f}x" if n in base else "       "
        print(f"{name:34} {median:7.2f} s  {ratio}  {min(took):6.2f} .. {max(took):<6.2f}  {memory[name]:7.0f} MiB")
    for name, got in rates.items():
        print(f"{name:34} {statistics.median(got) / 1e9:7.1f} GB/s, {statistics.median(got) / statistics.median(rates['reading']):.2f} of reading")


if __name__ == "__main__":
    main()
