"""Shows griffin every hostile sample in the repository: python3 hostile.py

Each formats/**/testdata/hostile/expect.json says of each sample whether a strict reader accepts or rejects it, or may
do either. `inspect --digest` has to agree: exit 0, or exit 3 with one line that says what is wrong; within a second,
under 128 MiB, and without making a file anywhere. Raw key-value stores and single arrays, which inspect does not
open, are left to the tests of their packages.
"""

import glob
import json
import os
import sys
import tempfile
import time

import griffin

SECONDS, MIB = 1.0, 128
RAW = ("/orbax/ocdbt/", "/orbax/zarr/")
EXITS = {"accept": (0,), "reject": (3,), "either": (0, 3)}


def measured(argv):
    """Exit status, seconds, peak RSS in MiB and standard error. This process is small, which matters: on Linux the
    peak of a child starts at what its parent had when it was forked."""
    with tempfile.TemporaryFile() as err, open(os.devnull, "r+b") as null:
        started = time.monotonic()
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, null.fileno(), 0), (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, err.fileno(), 2)])
        _, status, usage = os.wait4(pid, 0)
        seconds = time.monotonic() - started
        err.seek(0)
        return os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss / 1024, err.read().decode(errors="replace")


def everything_under(*directories):
    return {os.path.join(root, n) for d in directories for root, dirs, names in os.walk(d) for n in dirs + names}


def judge(path, want, verbose):
    for _ in range(3):  # on a busy machine the first time says little
        code, seconds, mib, said = measured([griffin.BINARY, "inspect", "--digest", path])
        if seconds <= SECONDS:
            break
    problems = []
    if code not in EXITS[want]:
        problems.append(f"exit {code}, want {' or '.join(map(str, EXITS[want]))}")
    if code and not said.startswith("griffin: "):
        problems.append("no reason given")
    if seconds > SECONDS:
        problems.append(f"took {seconds:.2f} s")
    if mib > MIB:
        problems.append(f"took {mib:.0f} MiB")
    if verbose or (problems and said):
        print(f"{want:6} {code} {seconds:5.2f} s {mib:4.0f} MiB  {os.path.basename(path)}: {said.strip()[:300]}")
    return "; ".join(problems)


def main():
    verbose = "-v" in sys.argv[1:]
    score = griffin.Score("hostile samples")
    lists = glob.glob(f"{griffin.REPOSITORY}/formats/**/testdata/**/expect.json", recursive=True)
    lists = sorted(x for x in lists if not any(raw in x for raw in RAW))
    if not lists:
        score.check("hostile samples", "none found")
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        for expectations in lists:
            directory = os.path.dirname(expectations)
            before = everything_under(directory)
            with open(expectations) as f:
                samples = json.load(f)
            for name, sample in samples.items():
                path = os.path.join(directory, name)
                score.attempt(os.path.relpath(path, griffin.REPOSITORY), judge, path, sample["want"], verbose)
            made = everything_under(directory, empty) - before
            score.check(f"nothing made beside {directory}", ", ".join(sorted(made)))
        os.chdir("/")
    score.finish()


if __name__ == "__main__":
    main()
