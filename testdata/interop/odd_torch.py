"""Saves .pt files with contents other than a plain state dict: python odd_torch.py OUT

Writes OUT/zip.pt and OUT/legacy.pt, and OUT/zip.json and OUT/legacy.json with what torch reads from them.
"""

import collections
import json
import sys

import torch

import expect

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
          "complex64", "complex128")
NEW = ("float8_e4m3fn", "float8_e5m2")  # torch writes them to the legacy container but cannot read them from it


def odd(zipped):
    torch.manual_seed(int.from_bytes(b"odd"))
    base = torch.randn(6, 8)
    layer = torch.nn.Linear(3, 2)
    tensors = {d: (torch.randn(2, 3) * 50).to(getattr(torch, d)) for d in DTYPES + (NEW if zipped else ())}
    return {
        "epoch": 3, "name": "a run", "lr": 1e-3, "nothing": None, "flags": (True, False), "when": {1: "x"},
        "model_state_dict": collections.OrderedDict(layer.state_dict()),
        "parameters": list(layer.parameters()),
        "dtypes": tensors,
        "views": {
            "base": base, "rows": base[2:5], "columns": base[:, 1:4], "transposed": base.T, "stepped": base[::2, ::3],
            "expanded": base[0].expand(5, 8), "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
            "diagonal": base.diagonal(), "reshaped": base.view(4, 12),
        },
        "shapes": [torch.tensor(1.5), torch.empty(0), torch.empty(3, 0, 2), torch.zeros(1, 1, 1, 1)],
        "special": torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-42]),
        "optimizer": {"state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.randn(2, 3)}},
                      "param_groups": [{"params": [0], "betas": (0.9, 0.999)}]},
    }


def main():
    for name, zipped in (("zip", True), ("legacy", False)):
        path = f"{sys.argv[1]}/{name}"
        torch.save(odd(zipped), path + ".pt", _use_new_zipfile_serialization=zipped)
        with open(path + ".json", "w") as f:
            json.dump(expect.by_torch(path + ".pt"), f)


if __name__ == "__main__":
    main()
