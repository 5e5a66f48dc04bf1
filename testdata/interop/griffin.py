"""Runs the griffin binary ($GRIFFIN, default bin/griffin of the repository) and counts checks."""

import json
import os
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("GRIFFIN", os.path.join(REPOSITORY, "bin", "griffin")))


class Failed(Exception):
    """A griffin command ended with another exit status than expected."""


def run(*argv, expect=0):
    """Runs a griffin command and returns its standard output and error. Raises Failed if its exit status is not expect."""
    argv = [BINARY, *map(str, argv)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    if done.returncode != expect:
        raise Failed(f"exit status {done.returncode}, want {expect}: {' '.join(argv)}\n{done.stderr.strip()}")
    return done.stdout, done.stderr


def convert(src, dst, *flags):
    run("convert", "--json", *flags, src, dst)


def inspect(path, *flags):
    """{name: (dtype, shape, SHA-256 of the row-major little-endian elements)} as griffin prints it."""
    out, _ = run("inspect", "--json", "--digest", *flags, path)
    return {t["name"]: (t["dtype"], tuple(t["shape"]), t["sha256"]) for t in json.loads(out)["tensors"]}


def tree(directory):
    """{path: content} of the files of a directory."""
    found = {}
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, directory)] = f.read()
    return found


def differences(want, got, limit=5):
    """A short description of the differences between two dictionaries; empty if they are equal."""
    lines = [f"missing {k}" for k in want if k not in got] + [f"unexpected {k}" for k in got if k not in want]
    lines += [f"{k}: want {want[k]}, got {got[k]}" for k in want if k in got and want[k] != got[k]]
    if len(lines) > limit:
        lines[limit:] = [f"and {len(lines) - limit} more"]
    return "; ".join(lines)


class Score:
    """Counts checks, prints each failure at once, and ends the process with the result."""

    def __init__(self, name):
        self.name, self.passed, self.failed, self.started = name, 0, 0, time.monotonic()

    def check(self, label, problem):
        """Counts one check, which passed if problem is empty, and returns whether it passed."""
        if problem:
            self.failed += 1
            print(f"FAIL {label}: {problem}", flush=True)
        else:
            self.passed += 1
        return not problem

    def attempt(self, label, function, *args):
        """Counts one check by a function that returns the problem, or raises it."""
        try:
            return self.check(label, function(*args))
        except (Failed, AssertionError, OSError, subprocess.SubprocessError) as e:
            return self.check(label, f"{type(e).__name__}: {e}")

    def finish(self):
        print(f"{self.name}: {time.monotonic() - self.started:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)
