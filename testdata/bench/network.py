"""Compares the time and memory of a conversion from a disk with those of the same over a network: python3 network.py SRC

SRC is a .pt file, or a directory that a web server can show (one with an index, or a Hugging Face directory). Every round
converts it to a Hugging Face directory (a .pt file if it is one) from the disk, from a web server on loopback, and from
one whose answers come 50 ms later; with --proxy from the first server through a proxy that adds the latency, and that shares the
processors with the client. Prints the medians and the ratios to the disk. A round before the others, which fills the page cache and the
servers' tables of pages, does not count. The servers send with Linux's default congestion control, whatever the machine's is. Needs Go,
to build the server.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

INTEROP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop")
sys.path.insert(0, INTEROP)

import griffin  # noqa: E402
import measure  # noqa: E402


def start(program, *flags):
    """Starts a server or proxy, and returns it and its address. It ends when its standard input is closed."""
    p = subprocess.Popen([program, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return p, p.stdout.readline().strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", default="50ms")
    parser.add_argument("--proxy", action="store_true")
    args = parser.parse_args()
    src = os.path.abspath(args.src)
    name = os.path.basename(src)
    flags = [] if name.endswith(".pt") else ["--to", "torch"]
    running = []
    with tempfile.TemporaryDirectory() as home:
        try:
            program = f"{home}/proxy"
            subprocess.run(["go", "build", "-trimpath", "-o", program, "./testdata/interop/proxy"], check=True, cwd=griffin.REPOSITORY)
            server, near = start(program, "-dir", os.path.dirname(src))
            running.append(server)
            late, far = start(program, *(["-to", near] if args.proxy else ["-dir", os.path.dirname(src)]), "-latency", args.latency)
            running.append(late)
            sources = {"disk": src, "loopback": f"http://{near}/{name}", f"with {args.latency}": f"http://{far}/{name}"}
            runs = {label: [] for label in sources}
            out = f"{home}/out"
            for n in range(args.rounds + 1):
                for label, source in sources.items():
                    run = measure.run([griffin.BINARY, "convert", *flags, source, out], sync=True)
                    if n > 0:
                        runs[label].append(run)
                    if os.path.isdir(out):
                        shutil.rmtree(out)
                    else:
                        os.remove(out)
        finally:
            for p in running:
                p.stdin.close()
                p.wait()
    disk = statistics.median(r.seconds for r in runs["disk"])
    for label, all_runs in runs.items():
        seconds = statistics.median(r.seconds for r in all_runs)
        cpu = statistics.median(r.cpu for r in all_runs)
        print(f"{label:12} {seconds:6.2f} s  {seconds / disk:5.2f} times the disk  {cpu:6.2f} s of processor  {max(r.mib for r in all_runs):4.0f} MiB   {' '.join(f'{r.seconds:.2f}' for r in all_runs)}")


main()
