"""Writes testdata/objects/: files of torch.save with objects of other classes, and tensors that griffin cannot read.

Run with torch installed: python generate_objects.py
"""
import argparse, collections, dataclasses, datetime, enum, functools, os, pathlib, warnings
import torch

warnings.filterwarnings("ignore")
here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "objects")
os.makedirs(here, exist_ok=True)


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Config:
    lr: float
    parent: object = None


class Slots:
    __slots__ = "a", "b"


class Mapping(dict):
    pass


class Sequence(list):
    pass


w = torch.arange(6.0).reshape(2, 3)
loop = Config(0.1)
loop.parent = {"back": loop}
slots = Slots()
slots.a, slots.b = 1, w[0].clone()
objects = {
    "w": w, "args": argparse.Namespace(lr=0.1, seed=torch.tensor([7]), shared=w), "config": loop, "path": pathlib.PurePosixPath("/a"),
    "when": datetime.datetime(2024, 1, 2), "color": Color.RED, "call": functools.partial(print, 1), "bytes": bytearray(b"abc"),
    "queue": collections.deque([1, 2]), "slots": slots, "mapping": Mapping(a=torch.ones(1)), "sequence": Sequence([torch.zeros(1)]),
    ("a", 1): {"x": torch.tensor([5])}, frozenset([1]): 2, "nested": [{"deep": [argparse.Namespace()]}], "type": argparse.Namespace,
}
for proto in 2, 4, 5:
    torch.save(objects, os.path.join(here, f"objects_proto{proto}.pt"), pickle_protocol=proto)
torch.save(objects, os.path.join(here, "objects_legacy.pt"), _use_new_zipfile_serialization=False)
torch.save(argparse.Namespace(w=w), os.path.join(here, "only_an_object.pt"))

torch.save({
    "w": w, "coo": w.to_sparse(), "csr": w.to_sparse_csr(), "quantized": torch.quantize_per_tensor(w, 0.5, 0, torch.qint8),
    "channels": torch.quantize_per_channel(w, torch.ones(2), torch.zeros(2), 0, torch.quint8), "meta": torch.empty(2, device="meta"),
    "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "conj": torch.tensor([1j]).conj(),
    "keys": {1.5: torch.ones(1), None: torch.ones(1)}, "set": {torch.ones(1)}, "last": w[0].clone(),
}, os.path.join(here, "unreadable.pt"))
