"""Runs griffin on every hostile sample of the repository: python3 hostile.py [-v]

Each formats/**/testdata/**/expect.json says for each sample whether a strict reader accepts it, rejects it, or may do
either. `inspect --digest` must agree: exit status 0, or 3 with an error message. It must take less than a second of a
processor and 128 MiB and create no file. The samples of formats/orbax/ocdbt and formats/orbax/zarr are tested by their packages only,
because inspect does not open single stores and arrays. -v prints a line for every sample.
"""

import glob
import json
import os
import sys
import tempfile

import griffin

SECONDS, MIB = 1.0, 128
RAW = ("/orbax/ocdbt/", "/orbax/zarr/")
EXITS = {"accept": (0,), "reject": (3,), "either": (0, 3)}


def measured(argv):
    """Exit status, seconds of a processor, peak RSS in MiB and standard error of a command. On Linux the peak of a child process starts
    with the size of its parent at the fork, so this process must be small."""
    with tempfile.TemporaryFile() as err, open(os.devnull, "r+b") as null:
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, null.fileno(), 0), (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, err.fileno(), 2)])
        _, status, usage = os.wait4(pid, 0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, err.read().decode(errors="replace")


def everything_under(*directories):
    return {os.path.join(root, n) for d in directories for root, dirs, names in os.walk(d) for n in dirs + names}


def judge(path, want, verbose):
    code, seconds, mib, error = measured([griffin.BINARY, "inspect", "--digest", path])
    problems = []
    if code not in EXITS[want]:
        problems.append(f"exit status {code}, want {' or '.join(map(str, EXITS[want]))}")
    if code and not error.startswith("griffin: "):
        problems.append("no error message")
    if seconds > SECONDS:
        problems.append(f"took {seconds:.2f} s of a processor")
    if mib > MIB:
        problems.append(f"used {mib:.0f} MiB")
    if verbose or (problems and error):
        print(f"{want:6} {code} {seconds:5.2f} s {mib:4.0f} MiB  {os.path.basename(path)}: {error.strip()[:300]}")
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
            score.check(f"no file created in {directory}", ", ".join(sorted(made)))
        os.chdir("/")
    score.finish()


if __name__ == "__main__":
    main()
