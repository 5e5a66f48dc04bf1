"""Fails the n-th system call of each kind of a conversion, for every n, and kills the process at it.

usage: faults.py [--every K] [--to TARGET,...] (needs bin/griffin and strace, on Linux)

After each fault the destination is absent, as it was before, or complete. The exit status is 0 or 4, and no panic is
printed. The next run succeeds, writes the same bytes as an undisturbed one, and leaves nothing else behind. strace counts
calls by thread, so that a fault may occur once in each of several threads.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRIFFIN = ROOT / "bin" / "griffin"
SOURCE = ROOT / "testdata" / "finetune" / "base"

WRITES = ["fallocate", "ftruncate", "pwrite64", "write", "sync_file_range"]
OTHERS = ["openat", "mkdirat", "fsync", "renameat2", "renameat", "flock", "statfs", "newfstatat", "statx", "fstat", "pread64", "read",
          "getdents64", "unlinkat"]
FAULTS = [(kind, "error=" + e) for kind in WRITES for e in ("ENOSPC", "EIO", "EDQUOT")]
FAULTS += [(kind, "error=EIO") for kind in OTHERS]
FAULTS += [(kind, "error=EINTR") for kind in ("fallocate", "flock", "fsync", "renameat2", "openat", "pwrite64", "pread64")]
FAULTS += [(kind, "signal=KILL") for kind in WRITES + OTHERS]
RUNTIME = ("netpollBreak", "epoll", "runtime: ")  # the Go runtime's own calls, which it does not survive


def digest(path):
    """Returns the names and contents of a file or directory; None if it is absent."""
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(str(p.relative_to(path)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]


def command(to, work):
    return [str(GRIFFIN), "convert", "--overwrite", "--verify", "--to", to, str(SOURCE), str(work / "d" / "out")]


def state(work):
    out = work / "d" / "out"
    side = out.with_name("out.conversion.json")
    return digest(out), digest(side)


def torture(to, replace, every):
    """Returns the number of faults, and what went wrong."""
    problems, count = [], 0
    with tempfile.TemporaryDirectory() as base:
        base = pathlib.Path(base)
        def fresh(name):
            work = base / name
            shutil.rmtree(work, ignore_errors=True)
            (work / "d").mkdir(parents=True)
            if replace:
                shutil.copytree(base / "old" / "d", work / "d", dirs_exist_ok=True)
            return work
        env = dict(os.environ, GOMAXPROCS="1")
        (base / "old" / "d").mkdir(parents=True)
        subprocess.run(command(to, base / "old") + ["--dtype", "bfloat16"], check=True, stdout=subprocess.DEVNULL)
        before = state(base / "old") if replace else (None, None)
        work = fresh("right")
        subprocess.run(command(to, work), check=True, stdout=subprocess.DEVNULL)
        after, names = state(work), sorted(p.name for p in (work / "d").iterdir())
        for kind, fault in FAULTS:
            n = 1
            while True:
                work = fresh("work")
                log = base / "log"
                run = subprocess.run(["strace", "-f", "-o", str(log), "-e", f"trace={kind}", "-e", f"inject={kind}:{fault}:when={n}"] + command(to, work),
                                     env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                text = log.read_text(errors="replace")
                if "INJECTED" not in text and "SIGKILL" not in text and "killed" not in text:
                    break
                count += 1
                label = f"{to}{' over an old one' if replace else ''}: {kind} {fault} {n}"
                out, side = state(work)
                killed = run.returncode in (-9, 137)
                if not killed and run.returncode not in (0, 4) and not any(s in run.stderr for s in RUNTIME):
                    problems.append(f"{label}: exit status {run.returncode}: {run.stderr[:300]}")
                if "panic" in run.stderr or "goroutine " in run.stderr and not any(s in run.stderr for s in RUNTIME):
                    problems.append(f"{label}: {run.stderr[:300]}")
                if out not in (before[0], after[0]):
                    problems.append(f"{label}: the destination is neither old nor complete")
                if out is not None and side not in (None, before[1] if out == before[0] else after[1]):
                    problems.append(f"{label}: the sidecar belongs to another file")
                if run.returncode == 0 and out != after[0]:
                    problems.append(f"{label}: success without a result")
                again = subprocess.run(command(to, work), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                left = sorted(p.name for p in (work / "d").iterdir())
                if again.returncode != 0 or state(work) != after or left != names:
                    problems.append(f"{label}: the next run: {again.returncode} {again.stderr[:200]}, left {left}")
                n += every
    return count, problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1, help="only every K-th call")
    parser.add_argument("--to", default="hf,torch,orbax")
    args = parser.parse_args()
    if not shutil.which("strace"):
        sys.exit("faults.py needs strace")
    total, failed = 0, []
    for to in args.to.split(","):
        for replace in (False, True):
            count, problems = torture(to, replace, args.every)
            total += count
            failed += problems
            print(f"{to}{' over an old one' if replace else ''}: {count} faults, {len(problems)} problems", flush=True)
            for p in problems:
                print("  " + p)
    print(f"{total} faults, {len(failed)} problems")
    sys.exit(1 if failed else 0)


main()
