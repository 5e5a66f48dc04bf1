"""Writes testdata/written/: dicts of tensors saved by torch.save, which the writer's output must equal.

Run with torch 2.15 on Linux: python generate_written.py [DIRECTORY]. With a directory that has room for 9 GB it also makes
wide.frame: a file with sizes and offsets of more than 32 bits, without the bytes of its two large tensors.
"""
import hashlib, json, os, sys, zipfile
import torch

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "written")
os.makedirs(here, exist_ok=True)

torch.save({
    "w": torch.arange(4.0), "s": torch.tensor(7), "e": torch.zeros(0, 3), "b": torch.ones(2, 3, dtype=torch.bfloat16),
    "embedder.input_embedding": torch.arange(12, dtype=torch.bfloat16).reshape(4, 3), "é日本": torch.ones(1, 2, 3, 4, 5),
    "": torch.ones(3, 0), "long": torch.zeros(300, 1, dtype=torch.int8), "longer": torch.zeros(70000, 0, 300, dtype=torch.bool),
}, os.path.join(here, "mixed.v2.pt"))
torch.save({"é": torch.ones(1)}, os.path.join(here, "é.pt"))
os.rename(os.path.join(here, "é.pt"), os.path.join(here, "not_ascii.pt"))
torch.save({"one": torch.ones(2, 2).to(torch.float8_e4m3fn)}, os.path.join(here, "one.pt"))

dtypes = [getattr(torch, name) for name in (
    "float64 float32 float16 bfloat16 complex128 complex64 complex32 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool "
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2").split()]
data = torch.arange(96, dtype=torch.uint8)
torch.save({str(d)[6:]: (data % 2 if d == torch.bool else data).view(d).reshape(2, -1).clone() for d in dtypes}, os.path.join(here, "dtypes.pt"))

# Numbers of tensors at which Python begins a new batch, its memo grows out of a byte, C++ rehashes, and zip counts in 64 bits.
sums = {}
for n in 12, 13, 14, 30, 254, 999, 1000, 1001, 2000, 70000:
    path = os.path.join(here, "many.pt")
    torch.save({f"layer.{i}": torch.full((i % 3 + 1,), float(i)) for i in range(n)}, path)
    with open(path, "rb") as f:
        sums[n] = hashlib.sha256(f.read()).hexdigest()
    os.remove(path)
with open(os.path.join(here, "many.json"), "w") as f:
    json.dump(sums, f, indent=1)

if len(sys.argv) > 1:
    path = os.path.join(sys.argv[1], "wide.pt")
    torch.save({"a": torch.arange(3.0), "edge": torch.zeros(2**32 - 1, dtype=torch.uint8), "after": torch.tensor([7, 8]),
                "wide": torch.zeros(2**32 + 5, dtype=torch.uint8), "scalar": torch.tensor(True)}, path)
    frame, at = b"", 0
    with open(path, "rb") as f, zipfile.ZipFile(path) as z:
        for member in z.infolist():
            f.seek(member.header_offset)
            header = f.read(30)
            start = member.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            if member.file_size > 1 << 20:
                f.seek(at)
                frame += f.read(start - at)
                at = start + member.file_size
        f.seek(at)
        frame += f.read()
    os.remove(path)
    with open(os.path.join(here, "wide.frame"), "wb") as f:
        f.write(frame)
