"""Stops conversions at random moments: python3 kill_test.py CHECKPOINT [--kills 50] [-- FLAG...]

CHECKPOINT takes about a second to convert; the flags are passed to `griffin convert`. After every SIGKILL the
destination is absent or complete and correct, to the byte, and the next run leaves nothing of the killed one; where
an existing destination is to be overwritten, it is the old one or the new one, whole. After an interrupt (SIGINT) griffin
itself leaves nothing, and exits with 130.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import griffin

INTERRUPTED = 130


def content(directory):
    """{file: SHA-256} of a directory, or None where there is none."""
    if not os.path.lexists(directory):
        return None
    files = {}
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                files[os.path.relpath(path, directory)] = hashlib.file_digest(f, "sha256").hexdigest()
    return files


class Scene:
    """A directory in which one checkpoint is converted again and again."""

    def __init__(self, root, checkpoint, flags):
        self.root, self.destination = f"{root}/out", f"{root}/out/converted"
        self.older = f"{root}/older"
        self.argv = [griffin.BINARY, "convert", *flags, os.path.abspath(checkpoint), self.destination]
        self.reset()
        started = time.monotonic()
        self.convert()
        self.seconds = time.monotonic() - started
        self.correct = content(self.destination)
        os.makedirs(self.older)
        with open(f"{self.older}/notes.txt", "w") as f:
            f.write("what was here before\n")
        self.old = content(self.older)

    def reset(self):
        shutil.rmtree(self.root, ignore_errors=True)
        os.makedirs(self.root)

    def convert(self, *flags):
        subprocess.run([*self.argv[:2], *flags, *self.argv[2:]], check=True, capture_output=True)

    def stopped(self, stop, *flags):
        """Starts a conversion, stops it somewhere and returns its exit status (negative: the signal)."""
        process = subprocess.Popen([*self.argv[:2], *flags, *self.argv[2:]],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 1.1 * self.seconds))
        process.send_signal(stop)
        return process.wait()

    def killed(self):
        """One kill with no destination there before. Empty when all is as it should be."""
        self.reset()
        self.stopped(signal.SIGKILL)
        found = content(self.destination)
        if found not in (None, self.correct):
            return f"a destination that is not what a whole run makes: {sorted(found)}"
        left = sorted(set(os.listdir(self.root)) - {"converted"})
        self.convert("--overwrite")
        if content(self.destination) != self.correct:
            return "the next run made something else"
        if remains := sorted(set(os.listdir(self.root)) - {"converted"}):
            return f"the next run left {remains} of {left}"
        self.leftovers += bool(left)
        self.finished += found is not None
        return ""

    def killed_overwriting(self):
        self.reset()
        shutil.copytree(self.older, self.destination)
        self.stopped(signal.SIGKILL, "--overwrite")
        found = content(self.destination)
        if found not in (self.old, self.correct):
            return f"the destination is neither the old nor the new: {found and sorted(found)}"
        self.finished += found == self.correct
        return ""

    def interrupted(self):
        self.reset()
        code = self.stopped(signal.SIGINT)
        found, left = content(self.destination), sorted(os.listdir(self.root))
        if code == 0:
            return "" if found == self.correct and left == ["converted"] else f"exit 0 but {left}"
        if code == -signal.SIGINT and not left:
            return ""  # before the program had started
        if code != INTERRUPTED:
            return f"exit {code}"
        return f"left {left}" if left else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--kills", type=int, default=50)
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[:own.index("--")], own[own.index("--") + 1:]
    args = parser.parse_args(own)
    score = griffin.Score(f"stopped {args.kills} times and more")
    with tempfile.TemporaryDirectory(prefix="griffin-kill-") as root:
        scene = Scene(root, args.checkpoint, flags)
        print(f"a whole conversion takes {scene.seconds:.2f} s", flush=True)
        for name, stop, times in (("killed", scene.killed, args.kills),
                                  ("killed while overwriting", scene.killed_overwriting, (args.kills + 4) // 5),
                                  ("interrupted", scene.interrupted, (args.kills + 4) // 5)):
            scene.leftovers = scene.finished = 0
            for i in range(times):
                score.attempt(f"{name} {i}", stop)
            print(f"{name} {times} times: {scene.leftovers} left something for the next run to remove, "
                  f"{scene.finished} had finished", flush=True)
    score.finish()


if __name__ == "__main__":
    main()
