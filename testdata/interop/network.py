"""Reads checkpoints over a network: python.sh current network.py

1. The stand-in for the Hugging Face Hub that the Go tests use (formats/storage/storagetest) is what the real huggingface_hub
   client expects: downloads, listings, ranges, revisions, private and gated repositories.
2. griffin reads the cache that the client fills, and converts from the hub to the same bytes as from disk.
3. The same from an S3 server (gofakes3) and a Google Cloud Storage server (fake-gcs-server), in every format of the fixtures.
4. griffin inspect of a checkpoint of 5.3 GB gets less than 1 MiB; griffin diff and verify get no byte twice.

The servers listen on loopback. Needs Go, to build them once.
"""

import json
import os
import subprocess
import tempfile

import griffin
import servers

TINY = f"{griffin.REPOSITORY}/testdata/tiny-griffin"
SETTINGS = ["--attention-window", "8", "--logits-soft-cap", "30", "--embedding-scale"]
FORMATS = ["original/torch.pt", "original/orbax-ocdbt", "hf", "hf/model.safetensors"]
TOKEN = "hf_secret"
for name in list(os.environ):
    if name.startswith(("HF_", "AWS_", "GOOGLE_", "TRANSFORMERS_", "STORAGE_EMULATOR")):
        del os.environ[name]


def converted(source, directory, env=None):
    """{path: content} of conversions of a source to each layout, conversion.json aside."""
    before = dict(os.environ)
    os.environ.update(env or {})
    try:
        griffin.convert(source, f"{directory}/hf", *(SETTINGS if "/original/" in source else []))
        griffin.convert(source, f"{directory}/m.pt", "--to", "torch")
        griffin.convert(source, f"{directory}/orbax", "--to", "orbax")
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {k: v for k, v in griffin.tree(directory).items() if "conversion.json" not in k}


def same(source, local, env=None):
    """Compares conversions of a source with those of local files. Empty if they are the same bytes."""
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        want, got = converted(local, a), converted(source, b, env)
    return griffin.differences({k: hash(v) for k, v in want.items()}, {k: hash(v) for k, v in got.items()})


def client(score, endpoint, home):
    """Holds the stand-in to what huggingface_hub expects."""
    os.environ.update(HF_ENDPOINT=endpoint, HF_HOME=f"{home}/hf", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1")
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    want = griffin.tree(TINY)
    for revision in [None, "main", "a/branch", "refs/pr/1"]:
        def download():
            path = huggingface_hub.snapshot_download("org/tiny", revision=revision)
            return griffin.differences(want, griffin.tree(path))
        score.attempt(f"snapshot_download of revision {revision}", download)

    fs = huggingface_hub.HfFileSystem(endpoint=endpoint)
    api = huggingface_hub.HfApi(endpoint=endpoint)

    def listings():
        found = sorted(os.path.relpath(p, "org/tiny") for p in fs.find("org/tiny"))
        assert found == sorted(want), f"find gives {found}"
        names = sorted(os.path.basename(e["name"]) for e in fs.ls("org/tiny/original"))
        assert names == sorted(os.listdir(f"{TINY}/original")), f"ls gives {names}"
        info = fs.info("org/tiny/hf/model.safetensors")
        assert info["size"] == len(want["hf/model.safetensors"]) and info["lfs"], f"info gives {info}"
        files = api.get_paths_info("org/tiny", ["hf", "case.json", "absent"])
        assert [f.path for f in files] == ["hf", "case.json"], f"get_paths_info gives {files}"
        return ""
    score.attempt("listings", listings)

    def ranges():
        content = want["hf/model.safetensors"]
        with fs.open("org/tiny/hf/model.safetensors", "rb") as f:
            f.seek(1000)
            assert f.read(5000) == content[1000:6000], "another range"
        return ""
    score.attempt("ranges", ranges)

    def refused():
        for error, repository, revision in [(RepositoryNotFoundError, "org/absent", None), (RepositoryNotFoundError, "org/tiny-private", None),
                                            (RevisionNotFoundError, "org/tiny", "absent"), (GatedRepoError, "org/tiny-gated", None)]:
            try:
                huggingface_hub.hf_hub_download(repository, "case.json", revision=revision, token=False)
                return f"{repository} at {revision} was downloaded"
            except error:
                pass
        huggingface_hub.hf_hub_download("org/tiny-private", "hf/model.safetensors", token=TOKEN)
        return ""
    score.attempt("refusals", refused)

    for name in FORMATS:
        score.attempt(f"griffin from the hub: {name}", same, f"hf://org/tiny/{name}", f"{TINY}/{name}", {"HF_HUB_CACHE": f"{home}/empty"})
        score.attempt(f"griffin from the client's cache: {name}", same, f"hf://org/tiny@a%2Fbranch/{name}", f"{TINY}/{name}",
                      {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "https://127.0.0.1:1"})


def check_bucket(score, scheme, store):
    for name, content in griffin.tree(TINY).items():
        store.put(f"runs/{name}", content)
    for name in FORMATS:
        score.attempt(f"griffin from {scheme}: {name}", same, store.address(f"runs/{name}"), f"{TINY}/{name}", store.env)
    os.environ.update(store.env)

    def missing():
        _, error = griffin.run("inspect", store.address("absent"), expect=4)
        return "" if "no object" in error else f"error {error!r}"
    score.attempt(f"an absent object of {scheme}", missing)


def passed(directory, command, *names):
    """The bytes that a griffin command gets for files of a directory."""
    with servers.Proxy("-dir", directory) as server:
        with servers.Proxy("-to", server.address) as proxy:
            griffin.run(*command, *(f"http://{proxy.address}/{name}" for name in names))
    return proxy.passed


def check_bytes(score, home):
    os.makedirs(f"{home}/large")
    each = 2560 * 2304 * 2
    header = json.dumps({f"model.layers.{i // 17}.{i % 17}.weight": {"dtype": "BF16", "shape": [2560, 2304], "data_offsets": [i * each, (i + 1) * each]}
                         for i in range(450)}).encode()
    with open(f"{home}/large/model.safetensors", "wb") as f:  # zeros that take no disk
        f.write(len(header).to_bytes(8, "little") + header)
        f.truncate(8 + len(header) + 450 * each)

    def inspect():
        n = passed(f"{home}/large", ["inspect", "--json"], "model.safetensors")
        return "" if n < 1 << 20 else f"{n} bytes"
    score.attempt("griffin inspect of 5.3 GB", inspect)
    files = ["original/torch.pt", "hf/model.safetensors"]
    size = sum(os.path.getsize(f"{TINY}/{f}") for f in files)
    allowed = size + size // 20 + (48 << 10)  # headers of answers, config.json, files that are looked for
    for command, names in [(["diff", "--json"], ["original/torch.pt", "hf"]), (["verify", "--json", *SETTINGS], ["original/torch.pt", "hf"])]:
        def once():
            n = passed(TINY, command, *names)
            return "" if n < allowed else f"{n} bytes for {size}"
        score.attempt(f"griffin {command[0]} reads no byte twice", once)


def main():
    score = griffin.Score("network")
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home)
        hub = f"{home}/hubserver"
        subprocess.run(["go", "build", "-trimpath", "-o", hub, "./testdata/interop/hubserver"], check=True, cwd=griffin.REPOSITORY, env=GO)
        running = []
        try:
            p = subprocess.Popen([hub, *[f"org/{name}={TINY}" for name in ["tiny", "tiny-private", "tiny-gated"]]],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            running.append(p)
            client(score, p.stdout.readline().strip(), home)

            check_bytes(score, home)
            for scheme, kind in [("s3", servers.S3), ("gs", servers.GCS)]:
                running.append(kind())
                check_bucket(score, scheme, running[-1])
        finally:
            for p in running:
                (p.kill if isinstance(p, subprocess.Popen) else p.close)()
    score.finish()


GO = dict(os.environ)
main()
