"""Writes layouts.json: the files in which transformers stores tensors, computed by huggingface_hub
(assignment to shards), safetensors (headers) and json (the index).

Needs torch, safetensors 0.8 and huggingface_hub 1. Run in this directory."""
import json

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save

DTYPES = [torch.uint64, torch.int64, torch.float64, torch.complex64, torch.float32, torch.uint32, torch.int32, torch.bfloat16,
          torch.float16, torch.uint16, torch.int16, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz, torch.float8_e8m0fnu,
          torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8, torch.bool, torch.float4_e2m1fn_x2]


def tensor(dtype, shape):
    size = torch.empty(shape, dtype=dtype, device="meta").nbytes
    if size == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.zeros(size, dtype=torch.uint8).view(dtype).reshape(shape)


CASES = {
    "every dtype": (0, [(f"{p}.{i}", d, (2, 4)) for p in "ba" for i, d in enumerate(DTYPES)]),
    "odd names": (100, [(n, torch.float32, (20,)) for n in
                        ["é", "\x7f", "a\"b\\c/", "\x00\x01\b\t\n\f\r\x1f", "\U0001f600", "\u2028<>&", "", "\uffff", "Z", "a", "\U00010000"]]),
    "greedy": (20, [(f"t{i}", torch.uint8, (n,)) for i, n in enumerate([5, 21, 10, 5, 1, 20, 30, 40, 0, 20, 19, 1])]),
    "all large": (1, [(f"t{i}", torch.uint8, (2,)) for i in range(12)]),
    "one large": (1, [("t", torch.uint8, (2,))]),
    "just fits": (20, [("a", torch.uint8, (10,)), ("b", torch.uint8, (10,))]),
    "shapes": (0, [("scalar", torch.float32, ()), ("empty", torch.float32, (0, 3)), ("long", torch.bool, (1, 2, 1, 1, 3))]),
    "nothing": (0, []),
}


def saved(name, tensors):
    data = save(tensors, {"format": "pt"})
    n = int.from_bytes(data[:8], "little")
    return {"name": name, "header": data[8:8 + n].decode(), "size": len(data)}


def layout(limit, tensors):
    state = {n: tensor(d, s) for n, d, s in tensors}
    split = split_torch_state_dict_into_shards(state, max_shard_size=limit or 10**9, filename_pattern="model{suffix}.safetensors")
    files = split.filename_to_tensors or {"model.safetensors": []}
    index = None
    if split.is_sharded:
        index = {"metadata": {"total_parameters": sum(t.numel() for t in state.values()), **split.metadata},
                 "weight_map": split.tensor_to_filename}
        index = json.dumps(index, indent=2, sort_keys=True) + "\n"
    return {
        "limit": limit,
        "tensors": [{"name": n, "dtype": str(d).removeprefix("torch."), "shape": s} for n, d, s in tensors],
        "files": [saved(n, {k: state[k] for k in names}) for n, names in files.items()],
        "index": index,
    }


with open("layouts.json", "w") as f:
    json.dump({name: layout(*case) for name, case in CASES.items()}, f, indent=1)
    f.write("\n")
