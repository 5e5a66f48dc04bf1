"""What the libraries read from a file, for differential.py: reads requests from standard input, one JSON object a line, and
answers each with {"tensors": {name: [dtype, shape, SHA-256]}} or {"error": text}. A digest is null if the tensor would be too
large to copy. It runs in a process of its own, since a library may crash, hang, or ask for all memory.
"""

import hashlib
import json
import math
import os
import resource
import sys
import warnings

warnings.filterwarnings("ignore")
MOST = 1 << 26  # bytes of a tensor that are copied
ADDRESSES = 24 << 30  # bytes of address space


def digest(dtype, shape, raw):
    return [dtype, list(shape), hashlib.sha256(raw).hexdigest()]


def of_torch(t):
    import torch
    if t.layout != torch.strided:
        raise ValueError(f"tensor of layout {t.layout}")
    dtype, shape = str(t.dtype).removeprefix("torch."), list(t.shape)
    if t.numel() * t.element_size() > MOST:
        return [dtype, shape, None]
    t = t.detach().cpu().resolve_conj().resolve_neg()
    if t.dtype == torch.bool:
        t = t.view(torch.uint8)  # copying makes 1 of every other byte
    t = t.reshape(-1).clone(memory_format=torch.contiguous_format)  # stride 1 of a single element too
    return digest(dtype, shape, t.view(torch.uint8).numpy().tobytes() if t.numel() else b"")


def of_numpy(x):
    import numpy as np
    x = np.asarray(x)
    if x.nbytes > MOST:
        return [str(x.dtype), list(x.shape), None]
    return digest(x.dtype.newbyteorder("=").name, x.shape, np.ascontiguousarray(x.astype(x.dtype.newbyteorder("<"))).tobytes())


def flattened(tree, is_leaf, describe):
    """The leaves of nested dictionaries, lists and tuples; an error if two have one name, or if there are very many."""
    found, budget = {}, 100_000

    def walk(node, path):
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise ValueError("a tree of too many nodes")
        if is_leaf(node):
            name = ".".join(path) if path else "tensor"
            if name in found:
                raise ValueError("two tensors of one name")
            found[name] = describe(node)
        elif isinstance(node, dict):
            for k, v in node.items():
                walk(v, [*path, "(" + ", ".join(map(str, k)) + ")" if isinstance(k, tuple) else str(k)])
        elif isinstance(node, (list, tuple)):
            for i, v in enumerate(node):
                walk(v, [*path, str(i)])

    walk(tree, [])
    return found


def by_safetensors(path, _):
    """The parser of the library itself."""
    import safetensors
    with open(path, "rb") as f:
        content = f.read()
    found = {}
    for name, t in safetensors.deserialize(content):
        found[name] = digest(t["dtype"], t["shape"], bytes(t["data"]))
    return found


def by_safe_open(path, _):
    """What transformers calls."""
    import safetensors
    with safetensors.safe_open(path, framework="pt") as f:
        return {name: of_torch(f.get_tensor(name)) for name in f.keys()}


def by_torch(path, _, **options):
    import torch
    loaded = torch.load(path, map_location="cpu", weights_only=True, **options)
    return flattened(loaded, torch.is_tensor, of_torch)


def by_torch_mmap(path, _):
    return by_torch(path, _, mmap=True)


def by_flax(path, _):
    import flax.serialization
    import numpy
    with open(path, "rb") as f:
        tree = flax.serialization.msgpack_restore(f.read())
    return flattened(tree, lambda x: isinstance(x, (numpy.ndarray, numpy.generic)), of_numpy)


def by_tensorstore(path, names):
    """Each array as Orbax opens it: a chunk that is missing is an error."""
    import tensorstore
    found = {}
    for name in names["arrays"]:
        store = {"driver": "file", "path": f"{path}/{name}/"}
        if names["ocdbt"]:
            store = {"driver": "ocdbt", "base": f"file://{path}/", "path": name + "/"}
        spec = {"driver": names["driver"], "kvstore": store, "fill_missing_data_reads": False, "recheck_cached_metadata": "open", "recheck_cached_data": "open"}
        array = tensorstore.open(spec, open=True, read=True).result()
        if math.prod(array.shape) * array.dtype.numpy_dtype.itemsize > MOST:
            found[name] = [array.dtype.name, list(array.shape), None]
        else:
            found[name] = of_numpy(array.read().result())
    return found


READERS = {"safetensors": by_safetensors, "safe_open": by_safe_open, "torch": by_torch, "torch-mmap": by_torch_mmap, "flax": by_flax, "tensorstore": by_tensorstore}


def reason(message):
    """A message without the advice that torch puts around it."""
    _, found, after = message.partition("WeightsUnpickler error: ")
    return after.strip().split("\n")[0] if found else message


def main():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"tensors": READERS[request["reader"]](request["path"], request["about"])}
        except BaseException as e:  # a library may raise anything, pyo3's panics included
            answer = {"error": f"{type(e).__name__}: {reason(str(e))}"}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
