"""Writes the small checkpoints that differential.py starts from with the libraries themselves."""

import io
import json
import os
import zipfile

import ml_dtypes
import numpy as np

import differential_mutate as change
import griffin
from differential_mutate import Seed


def safetensors_seeds(rng):
    import torch
    from safetensors.torch import save

    def value(dtype, *shape):
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(dtype)

    several = {"w": value(torch.float32, 2, 3), "half": value(torch.bfloat16, 4), "scalar": torch.tensor(7), "none": torch.empty(0, 3), "mask": torch.tensor([True, False, True])}
    readers, fields = ("safetensors", "safe_open"), (change.safetensors_header,)
    for name, content in {
        "several": save(several, {"format": "pt"}), "one": save({"a": value(torch.float32, 5)}), "float8": save({"é": value(torch.float8_e4m3fn, 3, 3), "b": value(torch.float64, 2)}),
    }.items():
        yield Seed(f"safetensors/{name}", "safetensors", readers, {"model.safetensors": content}, "model.safetensors", fields=fields)


def torch_seeds(rng):
    import torch
    base = torch.from_numpy(rng.standard_normal((3, 4)).astype(np.float32))
    state = {"w": base, "wt": base.T, "half": base[1:, ::2].to(torch.bfloat16), "one": torch.tensor(7)}
    views = {"model": {"a": base.reshape(-1)[2:8].reshape(2, 3), "b": base[:, 1], "c": base}, "epoch": 3, "list": [torch.tensor([1, 2]), (torch.tensor([True]), None)]}
    more = {"p": torch.nn.Parameter(base.double()), "complex": base + 1j * base, "e": base[0].expand(2, 4), "u": torch.arange(3).to(torch.uint16)}
    for name, value in (("views", views), ("more", more), ("state", state)):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        yield Seed(f"torch/{name}", "torch", ("torch", "torch-mmap"), {"model.pt": buffer.getvalue()}, "model.pt", fields=(change.zip_member, change.zip_structure))
    packed = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    yield Seed("torch/deflated", "torch", ("torch",), {"model.pt": packed.getvalue()}, "model.pt", fields=(change.zip_member, change.zip_structure))
    for name, value in (("state", state), ("views", views)):
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=False)
        yield Seed(f"torch-legacy/{name}", "torch-legacy", ("torch",), {"model.pt": buffer.getvalue()}, "model.pt", fields=(change.pickle_of_legacy,))


def flax_seeds(rng):
    import flax.serialization
    tree = {"params": {"a": {"w": rng.standard_normal((3, 4)).astype(np.float32), "b": np.arange(3, dtype=ml_dtypes.bfloat16)}, "scale": np.float32(3)}, "step": 7, "none": None,
            "list": {"0": np.arange(5, dtype=np.int64), "1": np.array([True, False])}}
    yield Seed("flax/tree", "flax", ("flax",), {"model.msgpack": flax.serialization.msgpack_serialize(tree)}, "model.msgpack")
    most, flax.serialization.MAX_CHUNK_SIZE = flax.serialization.MAX_CHUNK_SIZE, 32
    yield Seed("flax/chunks", "flax", ("flax",), {"model.msgpack": flax.serialization.msgpack_serialize({"w": rng.standard_normal((4, 6)).astype(np.float32), "b": np.zeros(2)})}, "model.msgpack")
    flax.serialization.MAX_CHUNK_SIZE = most


def metadata(names, ocdbt, zarr3):
    tree = {str((n,)): {"key_metadata": [{"key": n, "key_type": 2}], "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False}} for n in names}
    return json.dumps({"tree_metadata": tree, "use_ocdbt": ocdbt, "use_zarr3": zarr3}).encode()


def arrays(rng):
    return {"a": rng.standard_normal((3, 4)).astype(np.float32), "b": rng.standard_normal(5).astype(ml_dtypes.bfloat16), "c": np.arange(6, dtype=np.int32).reshape(2, 3)}


ZARR2 = {"a": {"chunks": [2, 4], "compressor": {"id": "zstd", "level": 1}}, "b": {"chunks": [5], "compressor": None}, "c": {"chunks": [2, 2], "order": "F", "compressor": {"id": "gzip", "level": 1}}}
BLOSC = {"a": {"chunks": [2, 4], "compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}}, "b": {"chunks": [5], "compressor": {"id": "zlib", "level": 1}},
         "c": {"chunks": [2, 2], "compressor": {"id": "bz2", "level": 1}}}
GRID = "regular"
ZARR3 = {
    "a": {"chunk_grid": {"name": GRID, "configuration": {"chunk_shape": [2, 4]}}, "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}]},
    "b": {"chunk_grid": {"name": GRID, "configuration": {"chunk_shape": [5]}}, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]},
    "c": {"chunk_grid": {"name": GRID, "configuration": {"chunk_shape": [2, 3]}}, "codecs": [
        {"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 3], "codecs": [{"name": "transpose", "configuration": {"order": [1, 0]}}, {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "gzip", "configuration": {"level": 1}}],
                                                       "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}], "index_location": "end"}}]},
}


def orbax_seeds(rng, scratch):
    """Directories that griffin opens as Orbax does, with arrays that TensorStore wrote."""
    import tensorstore
    for name, driver, layouts, ocdbt, config in (
        ("zarr2", "zarr", ZARR2, False, None), ("blosc", "zarr", BLOSC, False, None), ("zarr3", "zarr3", ZARR3, False, None), ("ocdbt", "zarr", ZARR2, True, {"max_inline_value_bytes": 100}),
        ("ocdbt-plain", "zarr", ZARR2, True, {"compression": None, "max_inline_value_bytes": 1}),
        ("ocdbt-tree", "zarr3", ZARR3, True, {"compression": None, "max_decoded_node_bytes": 300, "version_tree_arity_log2": 1}),
    ):
        directory = f"{scratch}/{name}"
        os.makedirs(directory)
        values = arrays(rng)
        for key, value in values.items():
            store = {"driver": "file", "path": f"{directory}/{key}/"}
            if ocdbt:
                store = {"driver": "ocdbt", "base": f"file://{directory}/", "path": key + "/", "config": config}
            array = tensorstore.open({"driver": driver, "kvstore": store, "metadata": layouts[key]}, create=True, dtype=value.dtype, shape=value.shape).result()
            array.write(value).result()
        files = griffin.tree(directory) | {"_METADATA": metadata(values, ocdbt, driver == "zarr3")}
        about = {"arrays": list(values), "ocdbt": ocdbt, "driver": driver}
        fields = (change.ocdbt_body, change.ocdbt_body, change.missing_file) if ocdbt else (change.document, change.document, change.document, change.missing_file)
        yield Seed(f"orbax/{name}", "ocdbt" if ocdbt else "zarr", ("tensorstore",), files, ".", about, fields)


def seeds(scratch):
    rng = np.random.default_rng(0)
    return [*safetensors_seeds(rng), *torch_seeds(rng), *flax_seeds(rng), *orbax_seeds(rng, scratch)]
