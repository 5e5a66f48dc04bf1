"""Kills and interrupts conversions at random moments: python3 kill_test.py CHECKPOINT [--kills 50] [-- FLAG...]

CHECKPOINT should take about a second to convert. The flags, such as --to torch, are passed to `griffin convert`. Checks:
  - After SIGKILL the destination is absent or complete and correct. With --overwrite, it is the complete old one or the
    complete new one. A file and its FILE.conversion.json are published in two steps: one of them can be missing, but they
    never belong to different conversions.
  - The next run removes all that the killed one left.
  - After SIGINT griffin leaves nothing and exits with status 130.
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
    """{file: SHA-256} of a directory without its hidden subdirectories, in which griffin stages its output."""
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
    """A directory in which one checkpoint is converted repeatedly."""

    def __init__(self, root, checkpoint, flags):
        self.root, self.destination = f"{root}/out", f"{root}/out/converted"
        self.argv = [griffin.BINARY, "convert", *flags, os.path.abspath(checkpoint), self.destination]
        self.reset()
        started = time.monotonic()
        self.convert()
        self.seconds = time.monotonic() - started
        self.correct, self.is_file = content(self.root), os.path.isfile(self.destination)
        self.names = sorted(os.listdir(self.root))
        self.earlier = f"{root}/earlier"
        if not self.is_file:
            os.rename(self.destination, self.earlier)
        self.reset()
        self.put_old()
        self.old = content(self.root)

    def put_old(self):
        """Creates the destination that is to be overwritten: an earlier conversion, which is not quite the same."""
        if self.is_file:
            for path in (self.destination, self.destination + SIDECAR):
                with open(path, "w") as f:
                    f.write(f"existing destination: {os.path.basename(path)}\n")
            return
        shutil.copytree(self.earlier, self.destination, copy_function=os.link)
        record = f"{self.destination}/conversion.json"
        with open(record) as f:
            text = f.read()
        os.remove(record)  # it is a link
        with open(record, "w") as f:
            f.write(text + "\n")

    def states(self, *complete):
        """The states that a destination may have: the complete ones, and for a file those between two steps."""
        allowed = [*complete]
        if self.is_file:  # the sidecar of a new file is written first, that of an old file is removed first
            alone = {} in complete
            allowed += [{name: sum for name, sum in state.items() if name.endswith(SIDECAR) == alone} for state in complete]
        return allowed

    def reset(self):
        shutil.rmtree(self.root, ignore_errors=True)
        os.makedirs(self.root)

    def convert(self, *flags):
        subprocess.run([*self.argv[:2], *flags, *self.argv[2:]], check=True, capture_output=True)

    def stopped(self, stop, *flags):
        """Starts a conversion, sends it a signal at a random moment, and returns its exit status, or minus the signal."""
        process = subprocess.Popen([*self.argv[:2], *flags, *self.argv[2:]],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 1.1 * self.seconds))
        process.send_signal(stop)
        return process.wait()

    def killed(self):
        """Kills a conversion to a new destination. Returns the problem, if there is one."""
        self.reset()
        self.stopped(signal.SIGKILL)
        found = content(self.root)
        if found not in self.states({}, self.correct):
            return f"the destination is not complete: {sorted(found)}"
        return self.again(found)

    def killed_overwriting(self):
        """Kills a conversion with --overwrite. Returns the problem, if there is one."""
        self.reset()
        self.put_old()
        self.stopped(signal.SIGKILL, "--overwrite")
        found = content(self.root)
        if found not in self.states(self.old, self.correct):
            return f"the destination is neither the old nor the new one: {sorted(found)}"
        return self.again(found)

    def again(self, found):
        """Runs the next conversion. Returns the problem, if there is one."""
        left = sorted(set(os.listdir(self.root)) - set(self.names))
        self.convert("--overwrite")
        if content(self.root) != self.correct:
            return "the next run wrote something else"
        if sorted(os.listdir(self.root)) != self.names:
            return f"the next run left {sorted(os.listdir(self.root))}"
        self.leftovers += bool(left)
        self.finished += found == self.correct
        return ""

    def interrupted(self):
        """Interrupts a conversion. Returns the problem, if there is one."""
        self.reset()
        code = self.stopped(signal.SIGINT)
        found, left = content(self.root), sorted(os.listdir(self.root))
        if code == 0:
            return "" if found == self.correct and left == self.names else f"exit status 0 but {left}"
        if code == -signal.SIGINT and not left:
            return ""  # before griffin handles the signal
        if code != INTERRUPTED:
            return f"exit status {code}"
        return f"left {left}" if left else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--kills", type=int, default=50)
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[:own.index("--")], own[own.index("--") + 1:]
    args = parser.parse_args(own)
    score = griffin.Score("killed and interrupted conversions")
    with tempfile.TemporaryDirectory(prefix="griffin-kill-") as root:
        scene = Scene(root, args.checkpoint, flags)
        print(f"a complete conversion takes {scene.seconds:.2f} s", flush=True)
        for name, stop, times in (("killed", scene.killed, args.kills),
                                  ("killed while overwriting", scene.killed_overwriting, (args.kills + 4) // 5),
                                  ("interrupted", scene.interrupted, (args.kills + 4) // 5)):
            scene.leftovers = scene.finished = 0
            for i in range(times):
                score.attempt(f"{name} {i}", stop)
            print(f"{name} {times} times: {scene.leftovers} left files that the next run removed, "
                  f"{scene.finished} were complete", flush=True)
    score.finish()


if __name__ == "__main__":
    main()
