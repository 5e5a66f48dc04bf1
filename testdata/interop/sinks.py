"""Writes checkpoints to object stores: python.sh current sinks.py

For an S3 server (gofakes3) and a Google Cloud Storage server (fake-gcs-server), which other people wrote:

1. Conversions give the same bytes as to the disk, small ones and those in many parts, with and without a proof, in less than 256 MiB of memory.
2. Conversions that are killed leave nothing usable; griffin clean or the next conversion removes what they left.
3. Two tasks convert all steps of a run in a bucket to the bucket.

Needs Go, to build the servers once.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import griffin
import servers
import sinks_data

TINY = f"{griffin.REPOSITORY}/testdata/tiny-griffin"
ORBAX_FORMATS = ["ocdbt", "ocdbt-uncompressed", "ocdbt-zarr3", "zarr", "zarr-uncompressed"]
SETTINGS = ["--attention-window", "8", "--logits-soft-cap", "30", "--embedding-scale"]
for name in list(os.environ):
    if name.startswith(("AWS_", "GOOGLE_", "STORAGE_EMULATOR")):
        del os.environ[name]


MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def tree(directory):
    return {name: hash(content) for name, content in griffin.tree(directory).items()}


def stored(store, prefix):
    return {k[len(prefix) + 1:]: hash(store.get(k)) for k in store.keys(prefix + "/")}


def same(store, home, label, source, *flags):
    """Compares a conversion to the store with one to the disk."""
    name = f"{label}.pt" if "torch" in flags else label
    griffin.convert(source, f"{home}/{label}/{name}", *flags)
    # A process that is forked counts the memory of this one as its own, so that a small one starts griffin.
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, griffin.BINARY, "convert", "--json", *flags, source, store.address(f"{label}/{name}")],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    memory = int(done.stderr.split()[-1])
    assert memory < 256 << 10, f"{memory >> 10} MiB of memory"
    return griffin.differences(tree(f"{home}/{label}"), stored(store, label)) or left(store)


def left(store):
    """What conversions have left that should not be there."""
    hidden = [k for k in store.keys() if ".griffin-" in k] + store.unfinished()
    return f"left: {hidden[:5]}" if hidden else ""


def killed(store, home, source, rng):
    """Kills conversions at random moments."""
    at = store.address("killed/model")
    griffin.convert(source, f"{home}/whole")
    start = time.monotonic()
    griffin.convert(source, store.address("killed/timed"))
    takes = time.monotonic() - start
    seen = set()
    for i in range(6):
        process = subprocess.Popen([griffin.BINARY, "convert", source, at], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * takes)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.5)  # requests that were sent may still have their effect
        complete = "killed/model/config.json" in store.keys("killed/model/")
        seen.add(complete)
        if complete or i % 2 == 0:
            griffin.run("clean", at)
            found = [k for k in store.keys("killed/") if "timed" not in k]
            assert complete or not found, f"after griffin clean: {found}"
            assert not left(store), left(store)
        griffin.run("convert", source, at, expect=2 if complete else 0)
        problem = griffin.differences(tree(f"{home}/whole"), stored(store, "killed/model")) or left(store)
        assert not problem, problem
        for key in store.keys("killed/model/"):
            servers.request(f"{store.base}/{key}" if type(store) is servers.S3 else f"{store.base}/storage/v1/b/models/o/{key.replace('/', '%2F')}", method="DELETE")
    assert False in seen, "no conversion was killed before its end"
    return ""


def run(store, home):
    """Converts the steps of a run in two tasks."""
    for step in (10, 20, 30):
        for name, content in griffin.tree(f"{TINY}/original/orbax-ocdbt").items():
            store.put(f"train/{step}/{name}", content)
    for task in (0, 1):
        griffin.run("convert", "--all-steps", "--task", f"{task}/2", *SETTINGS, store.address("train"), store.address("steps"))
    griffin.convert(f"{TINY}/original/orbax-ocdbt", f"{home}/step", *SETTINGS)
    want = {k: v for k, v in tree(f"{home}/step").items() if k != "conversion.json"}
    for step in (10, 20, 30):
        got = stored(store, f"steps/{step}")
        got.pop("conversion.json")
        if problem := griffin.differences(want, got):
            return f"step {step}: {problem}"
    out, _ = griffin.run("convert", "--all-steps", *SETTINGS, store.address("train"), store.address("steps"))
    assert "3 complete already" in out, out
    out, _ = griffin.run("verify", "--all-steps", *SETTINGS, store.address("train"), store.address("steps"))
    assert "3 the same model" in out, out
    return left(store)


def main():
    rng = random.Random(SEED)
    score = griffin.Score("sinks")
    with tempfile.TemporaryDirectory() as home:
        sinks_data.make(sinks_data.LARGE, SEED, f"{home}/large")
        for kind in (servers.S3, servers.GCS):
            store = kind()
            before = dict(os.environ)
            os.environ.update(store.env)
            try:
                for label, source, *flags in [
                    ("hf", f"{TINY}/original/torch.pt", *SETTINGS), ("shards", f"{TINY}/hf", "--max-shard-size", "50KB", "--verify"),
                    ("torch", f"{TINY}/hf", "--to", "torch"), ("large", f"{home}/large"), ("large-torch", f"{home}/large", "--to", "torch"),
                    ("large-shards", f"{home}/large", "--max-shard-size", "20MB", "--verify"), ("large-proven", f"{home}/large", "--to", "torch", "--verify"),
                    ("container", f"{home}/large", "--to", "safetensors", "--dtype", "bfloat16"),
                    ("orbax", f"{TINY}/hf", "--to", "orbax", "--verify"),
                    *((f"large-{f}", f"{home}/large", "--to", "orbax", "--orbax-format", f, *(["--verify"] if "3" in f else [])) for f in ORBAX_FORMATS),
                ]:
                    score.attempt(f"{kind.__name__}: {label}", same, store, f"{home}/{kind.__name__}", label, source, *flags)
                score.attempt(f"{kind.__name__}: killed conversions", killed, store, f"{home}/{kind.__name__}", f"{home}/large", rng)
                score.attempt(f"{kind.__name__}: all steps", run, store, f"{home}/{kind.__name__}")
            finally:
                os.environ.clear()
                os.environ.update(before)
                store.close()
    score.finish()


SEED = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 32)
print(f"seed {SEED}")
main()
