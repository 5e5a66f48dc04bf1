"""Breaks the network between griffin and servers: python.sh current network_faults.py

A proxy stands before a web server, an S3 server (gofakes3) and a Google Cloud Storage server (fake-gcs-server), and breaks some of
their answers. Every conversion from them and to them has the right result, or ends with exit status 4, an error that says
what to do, and no destination. What breaks only now and then does not fail a conversion. Needs Go, to build the servers once.
"""

import hashlib
import os
import tempfile

import griffin
import servers
from servers import Proxy

TINY = f"{griffin.REPOSITORY}/testdata/tiny-griffin"
SETTINGS = ["--attention-window", "8", "--logits-soft-cap", "30", "--embedding-scale"]
for name in list(os.environ):
    if name.startswith(("AWS_", "GOOGLE_", "STORAGE_EMULATOR")):
        del os.environ[name]

PASSING = ["drop", "refuse", "busy", "failing", "short", "lying"]  # gone with another attempt
LASTING = {"unauthorized": 4, "forbidden": 4, "busylong": 4, "renamed": 4, "grown": 4, "shifted": 4, "whole": 4}  # exit status if all answers but the first have them


def tree(directory):
    """{path: digest} of a directory, conversion.json aside."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in griffin.tree(directory).items() if not name.endswith("conversion.json")}


def stored(store, prefix):
    """tree for objects."""
    return {k[len(prefix):]: hashlib.sha256(store.get(k)).hexdigest() for k in store.keys(prefix) if not k.endswith("conversion.json")}


def fails(source, home):
    """Checks that a conversion ends with a clear error and leaves nothing."""
    out = f"{home}/none/out"
    os.makedirs(f"{home}/none", exist_ok=True)
    _, error = griffin.run("convert", "--json", *SETTINGS, source, out, expect=4)
    assert "http://127.0.0.1" in error or "s3://" in error or "gs://" in error, f"the error names no address: {error}"
    assert '"hint"' in error or "another range" in error, f"no hint: {error}"
    assert not os.listdir(f"{home}/none"), f"left: {os.listdir(f'{home}/none')}"
    return ""


def works(source, home, want):
    """Checks that a conversion gives the files of want."""
    with tempfile.TemporaryDirectory(dir=home) as directory:
        griffin.convert(source, f"{directory}/out", *SETTINGS)
        return griffin.differences(want, tree(f"{directory}/out"))


def sources(score, home, address, source, want):
    """Conversions from a server. source gives the address of a file at a proxy."""
    for fault in PASSING:
        with Proxy("-to", address, "-fault", fault, "-match", "^(GET|HEAD) .*torch", "-every", "3") as p:
            score.attempt(f"{fault} in every third answer", works, source(p.address), home, want)
    with Proxy("-to", address, "-fault", "stall", "-match", "^GET .*torch", "-skip", "1", "-most", "1") as p:
        score.attempt("an answer that stalls once", works, source(p.address), home, want)


def web(score, home, want):
    with Proxy("-dir", f"{TINY}/original") as server:
        sources(score, home, server.address, lambda at: f"http://{at}/torch.pt", want)
        for fault in LASTING:
            with Proxy("-to", server.address, "-fault", fault, "-match", r"torch\.pt($|\?)", "-skip", "1") as p:
                score.attempt(f"{fault} in all answers but the first", fails, f"http://{p.address}/torch.pt", home)


def uploads(score, home, store, at):
    """Conversions to a store. at gives the address of a key at a proxy."""
    for to, flags in {"hf": [], "orbax": ["--to", "orbax"]}.items():
        griffin.convert(f"{TINY}/hf", f"{home}/{type(store).__name__}/{to}", *flags)
        want = tree(f"{home}/{type(store).__name__}/{to}")
        address = f"127.0.0.1:{store.port}"
        for fault in ["refuse", "busy", "failing", "lost"]:
            with Proxy("-to", address, "-fault", fault, "-every", "3") as p:
                def good(key=f"{fault}-{to}"):
                    with environment(store, p):
                        griffin.convert(f"{TINY}/hf", at(p.address, key), *flags)
                    return griffin.differences(want, stored(store, key + "/")) or left(store, key)
                score.attempt(f"{type(store).__name__}: to {to}, {fault} in every third answer", good)
        for name, match in {"writing": "^(PUT|POST) .*(model.safetensors|%2F_METADATA|/_METADATA|_METADATA)", "the last file": "^(PUT|POST) .*(config.json|commit_success)"}.items():
            with Proxy("-to", address, "-fault", "forbidden", "-match", match) as p:
                def bad(key=f"forbidden-{to}-{name.replace(' ', '-')}"):
                    with environment(store, p):
                        griffin.run("convert", *flags, f"{TINY}/hf", at(p.address, key), expect=4)
                    found = store.keys(key + "/")
                    assert not found, f"there is {found}"
                    return left(store, key)
                score.attempt(f"{type(store).__name__}: to {to}, {name} is forbidden", bad)


def left(store, key):
    hidden = [k for k in store.keys() if ".griffin-" in k] + store.unfinished()
    return f"left: {hidden[:5]}" if hidden else ""


class environment:
    """Variables for a store behind a proxy."""

    def __init__(self, store, proxy):
        self.env = {k: v.replace(f"127.0.0.1:{store.port}", proxy.address) for k, v in store.env.items()}

    def __enter__(self):
        self.before = dict(os.environ)
        os.environ.update(self.env)

    def __exit__(self, *_):
        os.environ.clear()
        os.environ.update(self.before)


def main():
    score = griffin.Score("network faults")
    with tempfile.TemporaryDirectory() as home:
        griffin.convert(f"{TINY}/original/torch.pt", f"{home}/want", *SETTINGS)
        want = tree(f"{home}/want")
        web(score, home, want)
        for kind, scheme in [(servers.S3, "s3"), (servers.GCS, "gs")]:
            store = kind()
            try:
                at = lambda proxy, key: f"s3://{servers.BUCKET}/{key}?endpoint=http://{proxy}&use_path_style=true" if scheme == "s3" else f"gs://{servers.BUCKET}/{key}"
                with open(f"{TINY}/original/torch.pt", "rb") as f:
                    store.put("torch.pt", f.read())
                for fault in ["refuse", "busy", "failing"]:
                    with Proxy("-to", f"127.0.0.1:{store.port}", "-fault", fault, "-every", "3") as p, environment(store, p):
                        score.attempt(f"{scheme}: {fault} in every third answer", works, at(p.address, "torch.pt"), home, want)
                with Proxy("-to", f"127.0.0.1:{store.port}", "-fault", "forbidden", "-skip", "1") as p, environment(store, p):
                    score.attempt(f"{scheme}: forbidden", fails, at(p.address, "torch.pt"), home)
                uploads(score, home, store, at)
            finally:
                store.close()
    score.finish()


main()
