"""Fails the n-th system call of each kind of a conversion, for every n, and kills the process at it.

usage: faults.py [--sample N] [--seed N] [--to TARGET,...] [--jobs N] (needs bin/griffin and strace, on Linux)

After each fault the destination is absent, as it was before, or complete. The exit status is 0 or 4, and no panic is
printed. The next run succeeds, writes the same bytes as an undisturbed one, and leaves nothing else behind. strace counts
calls by thread, so that a fault may occur once in each of several threads. With --sample, that many faults are tried, chosen at
random among all.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import itertools
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRIFFIN = pathlib.Path(os.environ.get("GRIFFIN", ROOT / "bin" / "griffin"))
SOURCE = ROOT / "testdata" / "finetune" / "base"
TARGETS = {"hf": "out", "torch": "out.pt", "orbax": "out", "safetensors": "out.safetensors"}

WRITES = ["fallocate", "ftruncate", "pwrite64", "write", "sync_file_range"]
OTHERS = ["openat", "mkdirat", "fsync", "renameat2", "renameat", "flock", "statfs", "newfstatat", "statx", "fstat", "pread64", "read",
          "getdents64", "unlinkat", "readlinkat", "close"]
MEMORY = ["mmap", "munmap", "madvise"]
FAULTS = [(kind, "error=" + e) for kind in WRITES for e in ("ENOSPC", "EIO", "EDQUOT")]
FAULTS += [(kind, "error=EIO") for kind in OTHERS]
FAULTS += [(kind, "error=ENOMEM") for kind in MEMORY]
FAULTS += [(kind, "error=EINTR") for kind in ("fallocate", "flock", "fsync", "renameat2", "openat", "pwrite64", "pread64")]
FAULTS += [(kind, "signal=KILL") for kind in WRITES + OTHERS]
RUNTIME = ("netpollBreak", "epoll", "runtime: ", "fatal error: ", "runtime.")  # the Go runtime's own calls, which it does not survive


def digest(path):
    """Returns the names and contents of a file or directory; None if it is absent."""
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p.relative_to(path)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]


class Conversion:
    """A conversion to a new destination, or over an old one, that is run again and again."""

    def __init__(self, to, replace, base):
        self.to, self.replace, self.name = to, replace, to + (" over an old one" if replace else "")
        self.base = base / self.name.replace(" ", "-")
        self.mine = threading.local()
        old = self.base / "old"
        (old / "d").mkdir(parents=True)
        self.convert(old, "--dtype", "bfloat16", check=True)
        self.before = self.state(old) if replace else (None, None)
        work = self.fresh("right")
        self.convert(work, check=True)
        self.after, self.names = self.state(work), sorted(p.name for p in (work / "d").iterdir())

    def command(self, work, *options):
        return [str(GRIFFIN), "convert", "--overwrite", "--verify", "--to", self.to, *options, str(SOURCE), str(work / "d" / TARGETS[self.to])]

    def convert(self, work, *options, check=False):
        return subprocess.run(self.command(work, *options), check=check, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def trace(self, work, kinds, *options):
        """Runs the conversion under strace, and returns the result and what strace wrote."""
        log = work / "log"
        command = ["strace", "-f", "--seccomp-bpf", "-o", str(log), "-e", "trace=" + kinds, *options] + self.command(work)
        run = subprocess.run(command, env=dict(os.environ, GOMAXPROCS="1"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return run, log.read_text(errors="replace")

    def state(self, work):
        out = work / "d" / TARGETS[self.to]
        return digest(out), digest(out.with_name(out.name + ".conversion.json"))

    def fresh(self, name):
        work = self.base / name
        shutil.rmtree(work, ignore_errors=True)
        (work / "d").mkdir(parents=True)
        if self.replace:
            shutil.copytree(self.base / "old" / "d", work / "d", dirs_exist_ok=True)
        return work

    def count(self):
        """Returns how many calls of each kind the thread makes that makes most of them."""
        kinds = sorted({kind for kind, _ in FAULTS})
        _, log = self.trace(self.fresh("count"), ",".join(kinds))
        calls = collections.Counter()
        for line in log.splitlines():
            thread, call = line.split(None, 1)
            if "(" in call and "resumed>" not in call:
                calls[thread, call.split("(")[0]] += 1
        most = collections.Counter()
        for (_, kind), n in calls.items():
            most[kind] = max(most[kind], n)
        return most

    def fail(self, kind, fault, n):
        """Returns whether the fault occurred, and what went wrong."""
        problems = []
        work = self.fresh(f"work{threading.get_ident()}")
        run, text = self.trace(work, kind, "-e", f"inject={kind}:{fault}:when={n}")
        if "INJECTED" not in text and "SIGKILL" not in text and "killed" not in text:
            return False, []
        of_runtime = any(s in run.stderr for s in RUNTIME)
        out, side = self.state(work)
        killed = run.returncode in (-9, 137)
        if not killed and run.returncode not in (0, 4) and not of_runtime:
            problems.append(f"exit status {run.returncode}: {run.stderr[:300]}")
        if ("panic" in run.stderr or "goroutine " in run.stderr) and not of_runtime:
            problems.append(run.stderr[:1000])
        if out not in (self.before[0], self.after[0]):
            problems.append("the destination is neither old nor complete")
        if out is not None and side not in (None, self.before[1] if out == self.before[0] else self.after[1]):
            problems.append("the sidecar belongs to another file")
        if run.returncode == 0 and out != self.after[0]:
            problems.append("success without a result")
        again = self.convert(work)
        left = sorted(p.name for p in (work / "d").iterdir())
        if again.returncode != 0 or self.state(work) != self.after or left != self.names:
            problems.append(f"the next run: {again.returncode} {again.stderr[:200]}, left {left}")
        return True, [f"{self.name}: {kind} {fault} {n}: {p}" for p in problems]

    def fail_all(self, kind, fault):
        """Fails every call of a kind. Returns the number of faults, and what went wrong."""
        count, problems = 0, []
        for n in itertools.count(1):
            occurred, some = self.fail(kind, fault, n)
            if not occurred:
                return count, problems
            count, problems = count + 1, problems + some


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, default=0, help="try so many faults only")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--to", default=",".join(TARGETS))
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    args = parser.parse_args()
    if not shutil.which("strace"):
        sys.exit("faults.py needs strace")
    seed = random.randrange(1 << 20) if args.seed is None else args.seed
    if args.sample:
        print(f"seed {seed}")
    started, total, failed = time.time(), 0, []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # syncing takes long elsewhere
    with tempfile.TemporaryDirectory(dir=memory) as base, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        conversions = [Conversion(to, replace, pathlib.Path(base)) for to in args.to.split(",") for replace in (False, True)]
        if args.sample:
            all = []
            for c in conversions:
                most = c.count()
                all += [(c, kind, fault, n) for kind, fault in FAULTS for n in range(1, most[kind] + 1)]
            chosen = random.Random(seed).sample(all, min(args.sample, len(all)))
            jobs = {pool.submit(c.fail, kind, fault, n): c for c, kind, fault, n in chosen}
        else:
            jobs = {pool.submit(c.fail_all, kind, fault): c for c in conversions for kind, fault in FAULTS}
        counts, problems = collections.Counter(), collections.defaultdict(list)
        for job in concurrent.futures.as_completed(jobs):
            n, some = job.result()
            name = jobs[job].name
            counts[name] += n
            problems[name] += some
            for p in some:
                print("  " + p, flush=True)
        for c in conversions:
            print(f"{c.name}: {counts[c.name]} faults, {len(problems[c.name])} problems")
            total, failed = total + counts[c.name], failed + problems[c.name]
    print(f"{total} faults, {len(failed)} problems, {time.time() - started:.0f} s")
    sys.exit(1 if failed else 0)


main()
