"""Writes testdata/more/: files of torch.save with various options, and of older Pythons and other programs.

Run with torch and numpy installed: python generate.py
"""
import base64, collections, io, json, os, struct, zipfile
import numpy as np
import torch

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "more")
os.makedirs(here, exist_ok=True)
values = {}


def note(file, tensors):
    values[file] = {
        name: {
            "dtype": str(t.dtype)[6:], "shape": list(t.shape), "stride": list(t.stride()), "offset": t.storage_offset(),
            "b64": base64.b64encode(t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).decode(),
        } for name, t in tensors.items()
    }


def save(file, obj, tensors, **options):
    torch.save(obj, os.path.join(here, file), **options)
    note(file, tensors)


base = torch.arange(12.0).reshape(3, 4)
state = collections.OrderedDict(w=base, wt=base.T, half=base[1:, ::2].to(torch.bfloat16), one=torch.tensor(7))
for proto in 1, 2, 3, 5:
    save(f"proto{proto}.pt", state, state, pickle_protocol=proto)
    save(f"legacy_proto{proto}.pt", state, state, pickle_protocol=proto, _use_new_zipfile_serialization=False)

torch.serialization.set_crc32_options(False)
save("no_checksums.pt", state, state)
torch.serialization.set_crc32_options(True)
save("bare_tensor.pt", base.T, {"tensor": base.T})

trainer = {
    "model": state,
    "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": base + 1}, 1: {"step": torch.tensor(4.0)}},
                  "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1]}]},
    "history": [torch.tensor([1, 2]), (torch.tensor([True]), None)],
    "best": np.float64(0.25), "bytes": b"\x00\xff", "set": {1, 2}, "counter": collections.Counter("aab"),
    "default": collections.defaultdict(list, a=1), "device": torch.device("cpu"), "size": torch.Size([2, 3]),
    "dtype": torch.float16, "complex": 1j, "big": 2 ** 70, "rng": np.arange(3), "epoch": 3, "name": "run é",
}
flat = {"model." + k: v for k, v in state.items()}
flat |= {"optimizer.state.0.step": torch.tensor(3.0), "optimizer.state.0.exp_avg": base + 1,
         "optimizer.state.1.step": torch.tensor(4.0), "history.0": torch.tensor([1, 2]), "history.1.0": torch.tensor([True])}
save("trainer.pt", trainer, flat)
save("trainer_proto4.pt", trainer, flat, pickle_protocol=4)

# Python 2 has its own opcodes for str, and makes an OrderedDict of a list of pairs.
def text(s): return b"U" + bytes([len(s)]) + s.encode()
def tensor(key, numel, offset, size, stride):
    ints = lambda v: b"(" + b"".join(b"K" + bytes([i]) for i in v) + b"t"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
            + b"K" + bytes([numel]) + b"NtQK" + bytes([offset]) + ints(size) + ints(stride)
            + b"\x89ccollections\nOrderedDict\n)RtR")
pairs = b"](](" + text("w") + tensor("11", 12, 0, [3, 4], [4, 1]) + b"e](" + text("wt") + tensor("11", 12, 0, [4, 3], [1, 4]) + b"ee"
with open(os.path.join(here, "python2_legacy.pt"), "wb") as f:
    f.write(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    f.write(b"\x80\x02}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + b"\x88u.")
    f.write(b"\x80\x02ccollections\nOrderedDict\n(" + pairs + b"tR.")
    f.write(b"\x80\x02]" + text("11") + b"a." + struct.pack("<q12f", 12, *range(12)))
note("python2_legacy.pt", {"w": base, "wt": base.T})
loaded = torch.load(os.path.join(here, "python2_legacy.pt"), weights_only=False)
assert list(loaded) == ["w", "wt"] and torch.equal(loaded["wt"], base.T)

# Packed again by another program: folders have entries, members are deflated.
torch.save({"w": torch.zeros(16, 16), "wt": torch.zeros(16, 16).T}, buffer := io.BytesIO())
with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(os.path.join(here, "repacked.pt"), "w", zipfile.ZIP_DEFLATED) as new:
    new.writestr("archive/", b"")
    new.writestr("archive/data/", b"")
    for name in old.namelist():
        new.writestr(name, old.read(name))
note("repacked.pt", {"w": torch.zeros(16, 16), "wt": torch.zeros(16, 16).T})
torch.load(os.path.join(here, "repacked.pt"), weights_only=True)

with open(os.path.join(here, "values.json"), "w") as f:
    json.dump(values, f, indent=1)
