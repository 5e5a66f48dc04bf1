"""Stops conversions at random moments: python3 kill_test.py CHECKPOINT [--kills 50] [-- FLAG...]

CHECKPOINT takes about a second to convert; the flags are passed to `griffin convert`, --to torch and --to orbax among
them. After every SIGKILL the destination is absent or complete and correct, to the byte, and the next run leaves nothing
of the killed one; where an existing destination is to be overwritten, it is the old one or the new one, whole. A file and
its FILE.conversion.json take two steps: in between there is the one without the other, never the one of another. After an
interrupt (SIGINT) griffin itself leaves nothing, and exits with 130.
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
    """{file: SHA-256} of a directory, but for hidden ones, in which griffin prepares what it writes."""
    files = {}
    for root, inside, names in os.walk(directory):
        if root == directory:
            inside[:] = [name for name in inside if not name.startswith(".")]
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                files[os.path.relpath(path, directory)] = hashlib.file_digest(f, "sha256").hexdigest()
    return files


SIDECAR = ".conversion.json"


class Scene:
    """A directory in which one checkpoint is converted again and again."""

    def __init__(self, root, checkpoint, flags):
        self.root, self.destination = f"{root}/out", f"{root}/out/converted"
        self.argv = [griffin.BINARY, "convert", *flags, os.path.abspath(checkpoint), self.destination]
        self.reset()
        started = time.monotonic()
        self.convert()
        self.seconds = time.monotonic() - started
        self.correct, self.is_file = content(self.root), os.path.isfile(self.destination)
        self.names = sorted(os.listdir(self.root))
        self.reset()
        self.put_old()
        self.old = content(self.root)

    def put_old(self):
        """Makes what was there before."""
        paths = [self.destination, self.destination + SIDECAR]
        if not self.is_file:
            os.makedirs(self.destination)
            paths = [f"{self.destination}/notes.txt"]
        for path in paths:
            with open(path, "w") as f:
                f.write(f"what was here before: {os.path.basename(path)}\n")

    def states(self, *whole):
        """What a destination may be: whole, or if it is a file the steps in between."""
        allowed = [*whole]
        if self.is_file:  # the sidecar of a file that was not there comes first, that of another goes first
            alone = {} in whole
            allowed += [{name: sum for name, sum in state.items() if name.endswith(SIDECAR) == alone} for state in whole]
        return allowed

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
        found = content(self.root)
        if found not in self.states({}, self.correct):
            return f"a destination that is not what a whole run makes: {sorted(found)}"
        return self.again(found)

    def killed_overwriting(self):
        self.reset()
        self.put_old()
        self.stopped(signal.SIGKILL, "--overwrite")
        found = content(self.root)
        if found not in self.states(self.old, self.correct):
            return f"the destination is neither the old nor the new: {sorted(found)}"
        return self.again(found)

    def again(self, found):
        """The next run."""
        left = sorted(set(os.listdir(self.root)) - set(self.names))
        self.convert("--overwrite")
        if content(self.root) != self.correct:
            return "the next run made something else"
        if sorted(os.listdir(self.root)) != self.names:
            return f"the next run left {sorted(os.listdir(self.root))}"
        self.leftovers += bool(left)
        self.finished += found == self.correct
        return ""

    def interrupted(self):
        self.reset()
        code = self.stopped(signal.SIGINT)
        found, left = content(self.root), sorted(os.listdir(self.root))
        if code == 0:
            return "" if found == self.correct and left == self.names else f"exit 0 but {left}"
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
