"""Compares conversions of a distributed checkpoint in a published size with a copy of it: python3 sharded.py [--ranks 8]

The checkpoint is the .pt that bench.py makes, saved by torch.distributed.checkpoint in --ranks processes, each of which holds
a part of every tensor. Every round runs each of these once, until its output is on the disk: `cp -r` of the directory, griffin
to safetensors and to Hugging Face, and torch's own `dcp_to_torch_save`. Prints the medians, their ratio to the median of cp,
and the peak resident memory.
"""

import argparse
import os
import statistics
import subprocess
import sys

import bench
import measure

WRITER = """
import os, sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
rank, world, source, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[5], RANK=str(rank), WORLD_SIZE=str(world))
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (world,))
whole = torch.load(source, mmap=True, weights_only=True)
# The data of each rank are cut from its own copy of the file, so that nothing is sent.
parts = {name: distribute_tensor(t, mesh, [Shard(0)], src_data_rank=None) for name, t in whole.items()}
dcp.save(parts, checkpoint_id=out)
dist.destroy_process_group()
"""

CONVERTER = """
import sys
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
dcp_to_torch_save(sys.argv[1], sys.argv[2])
"""


def make(python, source, out, world):
    """Saves the checkpoint, unless it is there."""
    if os.path.exists(f"{out}/.metadata"):
        return
    port = str(20000 + os.getpid() % 20000)
    ranks = [subprocess.Popen([python, "-c", WRITER, str(rank), str(world), source, out, port]) for rank in range(world)]
    if any([p.wait() for p in ranks]):
        raise SystemExit("the ranks did not save the checkpoint")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="2b", choices=("2b", "9b"))
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", help="a .pt to cut, instead of that of the preset")
    parser.add_argument("--settings", default="", help="flags of griffin convert for it")
    parser.add_argument("--dir", help="the directory of the checkpoints")
    args = parser.parse_args()
    installed = bench.home()
    directory = os.path.abspath(args.dir or f"{installed}/bench-{args.preset}")
    os.makedirs(directory, exist_ok=True)
    python, out = f"{installed}/current/bin/python", f"{directory}/out"
    dcp = f"{directory}/dcp-{args.ranks}"
    make(python, args.source or bench.make(directory, args.preset, "torch"), dcp, args.ranks)
    griffin = [bench.griffin.BINARY, "convert"]
    runs = {
        "cp -r, sync": ["cp", "-r", dcp, out],
        "griffin to safetensors": [*griffin, "--to", "safetensors", dcp, out],
        "griffin to hf": [*griffin, *args.settings.split(), dcp, out],
        "dcp_to_torch_save": [python, "-W", "ignore", "-c", CONVERTER, dcp, out],
    }
    seconds, memory = {k: [] for k in runs}, {k: 0 for k in runs}
    for i in range(args.rounds):
        for name, argv in runs.items():
            bench.clear(out)
            run = measure.run(argv, sync=True)
            print(f"round {i + 1}: {name}: {run.seconds:.2f} s, {run.mib:.0f} MiB", file=sys.stderr, flush=True)
            seconds[name].append(run.seconds)
            memory[name] = max(memory[name], run.mib)
    bench.clear(out)
    base = statistics.median(next(iter(seconds.values())))
    print(f"{args.ranks} ranks, {args.rounds} rounds")
    for name, took in seconds.items():
        median = statistics.median(took)
        print(f"{name:28} {median:7.2f} s  {median / base:6.2f}x  {memory[name]:7.0f} MiB")


if __name__ == "__main__":
    main()
