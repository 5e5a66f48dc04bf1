"""Reads the Orbax directories that griffin writes with the original libraries: python.sh current orbax_write.py [DIR]

A test of formats/orbax writes trees of every dtype and shape and with unusual names in every format, with chunks of the
default size and with tiny ones. Orbax, the current version and that of 2024, restores them through each of its
interfaces, and TensorStore opens each array. All elements must be equal bit for bit. Needs Go.

    orbax_write.py check DIR    checks the checkpoints in DIR in this environment only
"""

import glob
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import expect
import griffin

HERE = os.path.dirname(os.path.abspath(__file__))


def as_wanted(leaves):
    return {tuple(v["path"]): (v["dtype"], tuple(v["shape"]), v["sha256"]) for v in leaves.values()}


def digests(tree, path=()):
    """{path: (dtype, shape, SHA-256)} of all leaves. In numpy, types of 2 and 4 bits take a byte for each element."""
    if isinstance(tree, dict):
        return {k: v for key, sub in tree.items() for k, v in digests(sub, (*path, key)).items()}
    return {path: expect.digest(np.asarray(tree))}


def nested(leaves, make):
    tree = {}
    for leaf in leaves.values():
        node = tree
        for key in leaf["path"][:-1]:
            node = node.setdefault(key, {})
        node[leaf["path"][-1]] = make(leaf)
    return tree


def numpy_type(leaf):
    import ml_dtypes
    return np.dtype(getattr(ml_dtypes, leaf["dtype"], None) or leaf["dtype"])


def restored(path, leaves):
    """Yields (name, function that returns the tree) for each interface that restores it."""
    import jax
    import orbax.checkpoint as ocp
    cpu = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    yield "PyTreeCheckpointer", lambda: ocp.PyTreeCheckpointer().restore(path)
    yield "PyTreeCheckpointer, as JAX", lambda: ocp.PyTreeCheckpointer().restore(
        path, restore_args=nested(leaves, lambda x: ocp.ArrayRestoreArgs(restore_type=jax.Array, sharding=cpu)))
    yield "PyTreeCheckpointer, into a tree", lambda: ocp.PyTreeCheckpointer().restore(
        path, item=nested(leaves, lambda x: np.zeros(x["shape"], numpy_type(x))))
    yield "StandardCheckpointer", lambda: ocp.StandardCheckpointer().restore(path)
    yield "StandardCheckpointer, into a tree", lambda: ocp.StandardCheckpointer().restore(
        path, nested(leaves, lambda x: np.zeros(x["shape"], numpy_type(x))))
    yield "StandardCheckpointer, as JAX", lambda: ocp.StandardCheckpointer().restore(
        path, nested(leaves, lambda x: jax.ShapeDtypeStruct(tuple(x["shape"]), numpy_type(x), sharding=cpu)))
    yield "CheckpointManager", lambda: managed(path)
    if current():
        from orbax.checkpoint import v1
        yield "v1", lambda: v1.load(path)
    else:  # recurrentgemma uses an interface of that time
        from recurrentgemma.jax.utils import load_parameters
        yield "recurrentgemma", lambda: load_parameters(path, "single_device")


def managed(path):
    import orbax.checkpoint as ocp
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(path, f"{root}/3/default")
        with ocp.CheckpointManager(root, item_names=None) as steps:
            assert steps.all_steps() == [3], steps.all_steps()
            return steps.restore(3, args=ocp.args.StandardRestore())


def by_tensorstore(path, leaves, driver, ocdbt):
    """Each array, opened without Orbax."""
    import tensorstore as ts
    out = {}
    options = {"fill_missing_data_reads": False} if current() else {}
    for name, leaf in leaves.items():
        base = {"driver": "file", "path": path + "/"}
        kvstore = {"driver": "ocdbt", "base": base, "path": name + "/"} if ocdbt else {**base, "path": f"{path}/{name}/"}
        array = ts.open({"driver": driver, "kvstore": kvstore, **options}).result()
        out[tuple(leaf["path"])] = expect.digest(array.read().result())
    return out


def version(package):
    return importlib.metadata.version(package)


def current():
    return version("tensorstore") >= "0.1.8"


def attempt(score, label, want, read):
    try:
        score.check(label, griffin.differences(want, read()))
    except Exception as e:  # an error of the libraries is a result of the check
        score.check(label, f"{type(e).__name__}: {str(e)[:600]}")


def check(score, root):
    import jax
    jax.config.update("jax_enable_x64", True)
    for listing in sorted(glob.glob(f"{root}/*/*.json")):
        path = listing.removesuffix(".json")
        tree, kind = path.split("/")[-2:]
        if tree == "types" and not current():
            continue
        with open(listing) as f:
            leaves = json.load(f)
        want = as_wanted(leaves)
        label = f"orbax {version('orbax-checkpoint')}: {tree}/{kind}"
        for how, restore in restored(path, leaves):
            attempt(score, f"{label}: {how}", want, lambda: digests(restore()))
        if tree != "many":
            attempt(score, f"{label}: TensorStore", want, lambda: by_tensorstore(
                path, leaves, "zarr3" if "zarr3" in kind else "zarr", kind.startswith("ocdbt")))


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "check":
        score = griffin.Score("orbax_write")
        check(score, os.path.abspath(sys.argv[2]))
        return score.finish()
    keep = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.abspath(keep or scratch)
        os.makedirs(out, exist_ok=True)
        subprocess.run(["go", "test", "-count=1", "-run", "^TestWriteForOthers$", "./formats/orbax"], check=True,
                       cwd=griffin.REPOSITORY, env={**os.environ, "GRIFFIN_WRITE_SAMPLES": out})
        for environment in ("current", "2024"):
            subprocess.run([f"{HERE}/python.sh", environment, "orbax_write.py", "check", out], check=True)


if __name__ == "__main__":
    main()
