"""Compares griffin with the libraries on damaged files: python.sh current differential.py [--seed N] [--cases N] [--format F] [-v]

Small checkpoints that the libraries wrote are changed in their bytes and fields, and read by both. What both accept must have the
same tensors and values. Where only one accepts, the reason that the other gives must be in a row of DIFFERENTIAL.md, which says why.
griffin may end with status 0 or 3 only. Prints the seed and, for each failure, the number of the case: --only N repeats it, and
--keep DIR leaves its files there. --rows prints how often each row of the page was met.
"""

import argparse
import collections
import json
import os
import queue
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings

import griffin
from differential_mutate import mutate, rng_of
from differential_seeds import seeds

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = f"{HERE}/DIFFERENTIAL.md"
SECONDS = 120  # that a reader may take for a file of a few kilobytes, on a busy machine, imports included
SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
               "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
               "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn", "F4": "float4_e2m1fn_x2"}


class Row:
    """A decided difference: who accepts what the other refuses with a message that a pattern matches."""

    def __init__(self, cells):
        formats, self.part, self.accepts, pattern, _ = cells
        self.formats, self.pattern, self.met = {f.strip() for f in formats.split(",")}, re.compile(pattern.strip("`").replace("\\|", "|")), 0


def table():
    """The rows of the page: | formats | part | who accepts | the message of the other | why |"""
    rows = []
    with open(PAGE) as f:
        for line in f:
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            if len(cells) == 5 and cells[3].startswith("`"):
                rows.append(Row(cells))
    return rows


class Library:
    """A process of differential_readers.py, started again after a crash or a hang."""

    def __init__(self):
        self.process = None

    def read(self, reader, path, about):
        if self.process is None:
            self.process = subprocess.Popen([sys.executable, f"{HERE}/differential_readers.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        print(json.dumps({"reader": reader, "path": path, "about": about}), file=self.process.stdin, flush=True)
        line = ""
        if select.select([self.process.stdout], [], [], SECONDS)[0]:
            line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        hung = self.process.poll() is None
        self.close()
        return {"error": "hangs" if hung else "crashes"}

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def by_griffin(path):
    """What griffin reads, in the same form; "fault" is an exit status that no file may cause."""
    try:
        done = subprocess.run([griffin.BINARY, "inspect", "--json", "--digest", path], capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"fault": "hangs"}
    error = done.stderr.decode(errors="replace").strip().removeprefix("griffin: ").replace(path, "")
    if error.startswith("{"):
        error = json.loads(error)["error"]
    if done.returncode == 3:
        return {"error": error}
    if done.returncode:
        return {"fault": f"exit status {done.returncode}: {error[:2000]}"}
    return {"tensors": {t["name"]: [t["dtype"], t["shape"], t["sha256"]] for t in json.loads(done.stdout)["tensors"]}}


def in_griffins_terms(reader, tensors):
    """The names that griffin has for types, and its shapes: two halves of a byte are one element, as in torch."""
    if reader != "safetensors":
        return tensors
    out = {}
    for name, (dtype, shape, sum) in tensors.items():
        dtype = SAFETENSORS.get(dtype, dtype)
        if dtype == "float4_e2m1fn_x2":
            if shape and shape[-1] % 2 == 0:
                shape = [*shape[:-1], shape[-1] // 2]
            else:
                dtype = "float4_e2m1fn_packed"
        out[name] = [dtype, shape, sum]
    return out


def values_differ(want, got):
    """What differs between two readings. A digest that the library could not compute is not compared."""
    masked = {k: [*v[:2], want[k][2] and v[2]] if k in want else v for k, v in got.items()}
    return griffin.differences(want, masked)


class Campaign:
    def __init__(self, options):
        self.options, self.rows, self.lock = options, table(), threading.Lock()
        self.score = griffin.Score("differential")
        self.counts, self.unlisted = collections.Counter(), collections.Counter()

    def judge(self, seed, reader, ours, answers):
        """Returns what is wrong with griffin beside one of the answers of the libraries."""
        library = answers[reader]
        if "fault" in ours:
            return ours["fault"]
        accepted = "tensors" in ours, "tensors" in library
        if all(accepted):
            self.counts["both accept"] += 1
            problem = values_differ(in_griffins_terms(reader, library["tensors"]), ours["tensors"])
            if problem and reader == "torch-mmap" and not values_differ(answers["torch"].get("tensors", {}), ours["tensors"]):
                self.counts["torch reads something else with mmap"] += 1  # the compressed bytes of a member, as they are
                return ""
            return problem and f"values differ from {reader}: {problem}"
        if not any(accepted):
            self.counts["both refuse"] += 1
            return ""
        who, message = ("griffin", library["error"]) if accepted[0] else (reader, ours["error"])
        self.counts[f"only {'griffin' if accepted[0] else 'the library'} accepts"] += 1
        for row in self.rows:
            if seed.format in row.formats and row.accepts in (who, "griffin" if accepted[0] else "library") and row.pattern.search(message):
                row.met += 1
                return ""
        return f"only {who} accepts it; {reader if accepted[0] else 'griffin'}: {message[:1500]}"

    def read(self, seed, files, library, root):
        """What griffin and the libraries read from files, which are written to a directory."""
        for path, content in files.items():
            os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
            with open(f"{root}/{path}", "wb") as f:
                f.write(content)
        entry = root if seed.entry == "." else f"{root}/{seed.entry}"
        return by_griffin(entry), {reader: library.read(reader, entry, seed.about) for reader in seed.readers}

    def sound(self, all_seeds, library, directory):
        """Every seed is read alike before it is changed."""
        for seed in all_seeds:
            ours, answers = self.read(seed, seed.files, library, tempfile.mkdtemp(dir=directory))
            for reader, answer in answers.items():
                self.score.check(f"{seed.name} by {reader}", ours.get("error") or answer.get("error") or self.judge(seed, reader, ours, answers))

    def case(self, number, seed, library, directory):
        files, what = mutate(rng_of(self.options.seed, number), seed)
        root = tempfile.mkdtemp(dir=directory)  # a fresh name: TensorStore caches
        ours, answers = self.read(seed, files, library, root)
        with self.lock:
            for reader, answer in answers.items():
                label = f"case {number} ({seed.name}, {what[:200]!r}) by {reader}"
                problem = self.judge(seed, reader, ours, answers)
                self.score.check(label, problem)
                if self.options.verbose and not problem:
                    print(label, ours.get("error", "accepted")[:200], "/", answer.get("error", "accepted")[:200], flush=True)
                if problem and self.options.keep:
                    shutil.copytree(root, f"{self.options.keep}/{number}", dirs_exist_ok=True)
        shutil.rmtree(root)

    def run(self, library, all_seeds, numbers, directory):
        work = queue.Queue()
        for n in numbers:
            work.put(n)

        def lane(library):
            try:
                while True:
                    try:
                        n = work.get_nowait()
                    except queue.Empty:
                        return
                    self.case(n, all_seeds[n % len(all_seeds)], library, directory)
            finally:
                library.close()

        lanes = [threading.Thread(target=lane, args=(library if k == 0 else Library(),)) for k in range(self.options.jobs)]
        for t in lanes:
            t.start()
        for t in lanes:
            t.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--cases", type=int, default=1200)
    parser.add_argument("--format", default="", help="only seeds whose name begins with this")
    parser.add_argument("--only", type=int, help="only the case of this number")
    parser.add_argument("--keep", default="", help="leave the files of failed cases here")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # of zipfile, about two members of one name
    print(f"seed {options.seed}")
    shared_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="griffin-differential-", dir=shared_memory) as directory:
        os.makedirs(f"{directory}/seeds")
        all_seeds = [s for s in seeds(f"{directory}/seeds") if s.name.startswith(options.format)]
        campaign = Campaign(options)
        library = Library()
        campaign.sound(all_seeds, library, directory)
        campaign.run(library, all_seeds, [options.only] if options.only is not None else range(options.cases), directory)
    print(", ".join(f"{k}: {n}" for k, n in sorted(campaign.counts.items())))
    if options.rows:
        for row in campaign.rows:
            print(f"{row.met:7} {row.accepts} accepts: {row.part} of {', '.join(sorted(row.formats))}")
    campaign.score.finish()


if __name__ == "__main__":
    main()
