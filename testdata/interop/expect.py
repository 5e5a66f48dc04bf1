"""What the reference library of each format reads from a file: {name: (dtype, shape, SHA-256 of the elements)}."""

import hashlib
import os

import numpy as np


def digest(array):
    """(dtype, shape, SHA-256 of the row-major little-endian elements) of a numpy array."""
    array = np.asarray(array, order="C")
    return str(array.dtype), tuple(array.shape), hashlib.sha256(array.tobytes()).hexdigest()


def digest_torch(t):
    import torch
    t = t.detach().cpu()
    raw = t.contiguous().reshape(-1).view(torch.uint8).numpy() if t.numel() else np.empty(0, np.uint8)
    return str(t.dtype).removeprefix("torch."), tuple(t.shape), hashlib.sha256(raw.tobytes()).hexdigest()


def leaves(tree, is_leaf, path=""):
    """The leaves of nested dicts, lists and tuples, their paths joined with dots."""
    if is_leaf(tree):
        yield path, tree
        return
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return
    for key, value in items:
        yield from leaves(value, is_leaf, f"{path}.{key}" if path else str(key))


def by_torch(path, weights_only=True):
    import torch
    loaded = torch.load(path, map_location="cpu", weights_only=weights_only)
    return {k: digest_torch(v) for k, v in leaves(loaded, torch.is_tensor)}


class Opaque:
    """Takes the place of every class that torch does not need for tensors. Nothing is imported or run."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


def by_torch_with_opaque_objects(path):
    """Like by_torch, for a file with objects of classes that weights_only refuses."""
    import pickle
    import types

    import torch

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module.split(".")[0] in ("torch", "collections") and module not in ("torch.hub", "torch.jit"):
                return super().find_class(module, name)
            return Opaque

    inert = types.ModuleType("inert")
    inert.Unpickler, inert.load = Unpickler, pickle.load
    loaded = torch.load(path, map_location="cpu", weights_only=False, pickle_module=inert)
    return {k: digest_torch(v) for k, v in leaves(loaded, torch.is_tensor)}


def by_safetensors(path):
    from safetensors.torch import load_file
    return {k: digest_torch(v) for k, v in load_file(path).items()}


def is_array(x):
    return hasattr(x, "shape") and hasattr(x, "dtype")


def by_orbax(path):
    import jax
    import orbax.checkpoint as ocp
    path = os.path.abspath(path)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as loader:
        # Restored as numpy arrays, whatever devices they were saved from.
        saved = loader.metadata(path).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
        tree = loader.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    return {k: digest(np.asarray(v)) for k, v in leaves(tree, is_array)}


def by_flax(path):
    import flax.serialization
    with open(path, "rb") as f:
        tree = flax.serialization.msgpack_restore(f.read())
    return {k: digest(np.asarray(v)) for k, v in leaves(tree, is_array)}


def originals(directory):
    """Yields (name, path, what the reference library reads) for each checkpoint in a directory original/ of a case."""
    for name in sorted(os.listdir(directory)):
        path = f"{directory}/{name}"
        if name.endswith(".pt"):
            yield name, path, by_torch(path)
        elif name.startswith("flax"):
            yield name, path, by_flax(f"{path}/checkpoint")
        elif name.endswith("manager"):
            step = max(os.listdir(path), key=lambda s: int(s) if s.isdigit() else -1)
            yield name, path, by_orbax(f"{path}/{step}/default")
        else:
            yield name, path, by_orbax(path)
