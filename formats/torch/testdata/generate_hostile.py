"""Writes dcp, ranks and zero /testdata/hostile: broken and malicious checkpoints of distributed trainings, each named after
what is wrong with it, with expect.json beside them. Run with torch installed: python generate_hostile.py
"""
import collections, enum, io, json, os, pickle, shutil, sys, types
import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (BytesStorageMetadata, ChunkStorageMetadata, Metadata, MetadataIndex,
                                                   TensorProperties, TensorStorageMetadata)

here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
expect = {}


def start(package):
    global out
    expect.clear()
    out = os.path.join(here, package, "testdata", "hostile")
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)


def finish():
    with open(os.path.join(out, "expect.json"), "w") as f:
        json.dump({name: {"want": want} for name, want in sorted(expect.items())}, f, indent=1)
        f.write("\n")


def saved(obj):
    f = io.BytesIO()
    torch.save(obj, f)
    return f.getvalue()


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


# ---- dcp

W = torch.arange(24.0).reshape(6, 4)


class Checkpoint:
    """A sound directory of two ranks: w is cut into rows, v is whole."""

    def __init__(self):
        self.files, self.data, self.tensors = {}, {}, {}
        self.add("w", W, [((0, 0), W[:3], "__0_0.distcp"), ((3, 0), W[3:], "__1_0.distcp")])
        self.add("v", W[0], [((0,), W[0], "__1_0.distcp")])
        self.tensors["lr"] = BytesStorageMetadata()

    def add(self, name, whole, chunks):
        listed = []
        for i, (offsets, t, path) in enumerate(chunks):
            content, file = saved(t.clone()), self.files.setdefault(path, b"")
            self.data[MetadataIndex(name, offsets, i)] = _StorageInfo(path, len(file), len(content))
            self.files[path] += content
            listed.append(ChunkStorageMetadata(torch.Size(offsets), t.shape))
        self.tensors[name] = TensorStorageMetadata(TensorProperties.create_from_tensor(whole), whole.shape, listed)

    def place(self, name, number=0):
        return [v for k, v in self.data.items() if k.fqn == name][number]

    def chunk(self, name, number=0):
        return self.tensors[name].chunks[number]

    def root(self):
        return Metadata(self.tensors, {k: (k,) for k in self.tensors}, self.data, version="1.0.0")

    def write(self, name, want="reject", root=None, metadata=None):
        expect[name] = want
        os.makedirs(os.path.join(out, name))
        if metadata is None:
            metadata = pickle.dumps(self.root() if root is None else root)
        for path, content in {".metadata": metadata, **self.files}.items():
            with open(os.path.join(out, name, path), "wb") as f:
                f.write(content)


def dcp(name, want="reject"):
    """Decorates a function that changes a sound checkpoint, and may return other things to write."""
    def write(change):
        c = Checkpoint()
        c.write(name, want, **(change(c) or {}))
    return write


def size(*numbers):
    return torch.Size(numbers)


start("dcp")
dcp("sound", "accept")(lambda c: None)
dcp("missing-file")(lambda c: c.files.pop("__1_0.distcp") and None)
dcp("short-file")(lambda c: c.files.update({"__1_0.distcp": c.files["__1_0.distcp"][:-100]}))
dcp("path-above")(lambda c: setattr(c.place("v"), "relative_path", "../sound/__1_0.distcp"))
dcp("path-absolute")(lambda c: setattr(c.place("v"), "relative_path", "/etc/passwd"))
dcp("path-backslash")(lambda c: setattr(c.place("v"), "relative_path", "..\\x"))
dcp("path-empty")(lambda c: setattr(c.place("v"), "relative_path", ""))
dcp("path-of-a-directory")(lambda c: setattr(c.place("v"), "relative_path", "."))
dcp("path-not-text")(lambda c: setattr(c.place("v"), "relative_path", 7))
dcp("offset-negative")(lambda c: setattr(c.place("v"), "offset", -1))
dcp("offset-of-another-chunk")(lambda c: setattr(c.place("v"), "offset", 0))
dcp("length-negative")(lambda c: setattr(c.place("v"), "length", -5))
dcp("length-zero")(lambda c: setattr(c.place("v"), "length", 0))
dcp("length-overflows")(lambda c: setattr(c.place("v"), "length", 2**63 - 1))
dcp("length-of-three-bytes")(lambda c: setattr(c.place("v"), "length", 3))
dcp("length-not-an-integer")(lambda c: setattr(c.place("v"), "length", 2**70))
dcp("transformed")(lambda c: setattr(c.place("v"), "transform_descriptors", ["stream.zstd/1"]))
dcp("overlapping-chunks")(lambda c: setattr(c.chunk("w", 1), "offsets", size(2, 0)) or c.data.update(
    {MetadataIndex("w", (2, 0)): c.place("w", 1)}))
dcp("uncovered-region")(lambda c: c.tensors["w"].chunks.pop() and None)
dcp("chunk-without-a-place")(lambda c: c.data.pop(MetadataIndex("w", (3, 0))) and None)
dcp("chunk-outside")(lambda c: setattr(c.tensors["w"], "size", size(5, 4)))
dcp("chunk-of-other-rank")(lambda c: setattr(c.chunk("w"), "sizes", size(3)))
dcp("chunk-of-other-shape")(lambda c: (setattr(c.tensors["w"], "size", size(4, 6)), setattr(c.chunk("w"), "sizes", size(2, 6)), setattr(
    c.chunk("w", 1), "offsets", size(2, 0)), setattr(c.chunk("w", 1), "sizes", size(2, 6)), c.data.update({MetadataIndex("w", (2, 0)): c.place("w", 1)})) and None)
dcp("chunk-of-other-type")(lambda c: setattr(c.tensors["w"].properties, "dtype", torch.int32))
dcp("chunk-is-a-dict")(lambda c: c.files.update({"__2_0.distcp": saved({"v": W[0]})}) or c.data.update(
    {MetadataIndex("v", (0,)): _StorageInfo("__2_0.distcp", 0, len(saved({"v": W[0]})))}))
dcp("chunk-calls-system")(lambda c: c.files.update({"__2_0.distcp": saved(Call(os.system, "true"))}) or c.data.update(
    {MetadataIndex("v", (0,)): _StorageInfo("__2_0.distcp", 0, len(saved(Call(os.system, "true"))))}))
dcp("chunk-changed")(lambda c: c.files.update({"__1_0.distcp": c.files["__1_0.distcp"].replace(W[4].numpy().tobytes(), W[5].numpy().tobytes())}))
dcp("sizes-negative")(lambda c: setattr(c.chunk("w"), "sizes", [-3, 4]))
dcp("size-overflows")(lambda c: setattr(c.tensors["w"], "size", size(2**62, 4)))
dcp("size-of-65-axes")(lambda c: setattr(c.tensors["w"], "size", size(*[1] * 65)))
dcp("size-of-text")(lambda c: setattr(c.tensors["w"], "size", "6, 4"))
dcp("chunks-not-a-list")(lambda c: setattr(c.tensors["w"], "chunks", 7))
dcp("chunks-of-numbers")(lambda c: setattr(c.tensors["w"], "chunks", [1, 2]))
dcp("chunks-that-hold-themselves")(lambda c: c.tensors["w"].chunks.append(c.tensors["w"].chunks))
dcp("type-quantized")(lambda c: setattr(c.tensors["w"].properties, "dtype", torch.qint8))
dcp("layout-sparse")(lambda c: setattr(c.tensors["w"].properties, "layout", torch.sparse_coo))
dcp("tensor-without-state")(lambda c: c.tensors.update(w=Call(TensorStorageMetadata)))
dcp("properties-without-state")(lambda c: setattr(c.tensors["w"], "properties", Call(TensorProperties)))
dcp("chunk-without-state")(lambda c: c.tensors["w"].chunks.append(Call(ChunkStorageMetadata)))
dcp("index-without-state")(lambda c: c.data.update({"w": c.data.pop(MetadataIndex("w", (3, 0)))}))
dcp("place-without-state")(lambda c: c.data.update({MetadataIndex("v", (0,)): Call(_StorageInfo)}))
dcp("no-tensors")(lambda c: c.tensors.clear())
dcp("calls-system")(lambda c: setattr(c, "tensors", {"w": Call(os.system, "true")}))
dcp("calls-eval")(lambda c: dict(root=Call(eval, "1")))
dcp("not-metadata")(lambda c: dict(root={"state_dict_metadata": {}}))
dcp("metadata-empty")(lambda c: dict(metadata=b""))
dcp("metadata-truncated")(lambda c: dict(metadata=pickle.dumps(c.root())[:-40]))
dcp("metadata-of-an-unknown-class", "reject")(lambda c: dict(root=collections.Counter("ab")))
dcp("metadata-in-a-zip")(lambda c: dict(metadata=saved(W)))
dcp("metadata-nested-deeply")(lambda c: dict(metadata=b"\x80\x04" + b"]" * 300_000 + b"a" * 299_999 + b"."))
dcp("metadata-marks")(lambda c: dict(metadata=b"\x80\x04" + b"(" * 300_000))
dcp("unknown-classes-beside", "accept")(lambda c: dict(root=Metadata(c.tensors, {k: (k,) for k in c.tensors}, c.data, Call(io.StringIO, "x"))))


def sharding(name, want, *files):
    """A directory of HuggingFaceStorageWriter: of each file the tensors and where they belong."""
    expect[name] = want
    os.makedirs(os.path.join(out, name))
    for i, (tensors, info) in enumerate(files, 1):
        info = info if isinstance(info, str) else json.dumps({k: {"saved_offsets": v} for k, v in info.items()})
        save_file(tensors, os.path.join(out, name, f"shard-{i:05d}-model-00001-of-00001.safetensors"),
                  {"DCP_SHARDING_INFO": info, "DCP_VERSION": "1.0", "format": "pt"})


top, bottom = {"w": W[:3].clone()}, {"w": W[3:].clone()}
sharding("safetensors-sound", "accept", (top, {"w": [0, 0]}), (bottom, {"w": [3, 0]}))
sharding("safetensors-gap", "reject", (top, {"w": [0, 0]}), (bottom, {"w": [4, 0]}))
sharding("safetensors-overlap", "reject", (top, {"w": [0, 0]}), (bottom, {"w": [2, 0]}))
sharding("safetensors-replicas-differ", "reject", (top, {"w": [0, 0]}), (bottom, {"w": [0, 0]}))
sharding("safetensors-negative-offset", "reject", (top, {"w": [0, 0]}), (bottom, {"w": [-3, 0]}))
sharding("safetensors-huge-offset", "reject", (top, {"w": [0, 0]}), (bottom, {"w": [2**63 - 2, 0]}))
sharding("safetensors-without-offsets", "reject", (top, {"w": [0, 0]}), (bottom, {"x": [3, 0]}))
sharding("safetensors-other-type", "reject", (top, {"w": [0, 0]}), ({"w": W[3:].half()}, {"w": [3, 0]}))
sharding("safetensors-bad-json", "reject", (top, {"w": [0, 0]}), (bottom, "{"))
sharding("safetensors-no-info", "reject", (top, {"w": [0, 0]}), (bottom, ""))
finish()

# ---- ranks

from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
from torch.distributed.tensor.placement_types import _StridedShard


class Mesh:
    """Pickles as a DeviceMesh with the attributes that torch gives it."""

    def __init__(self, shape, coordinate, ranks=None, **more):
        ranks = torch.arange(torch.Size(shape).numel(), dtype=torch.int32).reshape(shape) if ranks is None else ranks
        self.__dict__.update({"mesh": ranks, "_coordinate_on_dim": coordinate, **more})


Mesh.__module__, Mesh.__qualname__, Mesh.__name__ = "torch.distributed.device_mesh", "DeviceMesh", "DeviceMesh"


class Wrapped:
    """Pickles as a DTensor."""

    def __init__(self, shape, local, placements, mesh, dtype=torch.float32):
        spec = object.__new__(DTensorSpec)
        spec.__dict__.update(mesh=mesh, placements=placements, tensor_meta=TensorMeta(torch.Size([1]), (1,), dtype))
        args = DTensor, dtype, shape, (1,) * len(shape), 0, torch.strided, torch.device("cpu"), False
        self.parts = (torch._utils._rebuild_wrapper_subclass, DTensor, args, {"_local_tensor": local, "_spec": spec})

    def __reduce__(self):
        return torch._tensor._rebuild_from_type_v2, self.parts


def ranks(name, want, *states):
    expect[name] = want
    os.makedirs(os.path.join(out, name))
    real, torch.distributed.device_mesh.DeviceMesh = torch.distributed.device_mesh.DeviceMesh, Mesh
    try:
        for i, state in enumerate(states):
            if state is not None:
                torch.save(state, os.path.join(out, name, f"model_world_size_{len(states)}_rank_{i}.pt"))
    finally:
        torch.distributed.device_mesh.DeviceMesh = real


def rows(i, local=None, shape=(6, 4), placements=None, mesh=None, **more):
    """Rank i's half of the rows of w, beside a tensor that both ranks have."""
    local = W[3 * i:3 * i + 3].clone() if local is None else local
    mesh = Mesh([2], (i,)) if mesh is None else mesh
    return {"w": Wrapped(shape, local, (Shard(0),) if placements is None else placements, mesh), "v": W[0].clone(), **more}


start("ranks")
ranks("sound", "accept", rows(0), rows(1))
ranks("missing-rank", "reject", rows(0), None)
ranks("missing-first-rank", "reject", None, rows(1))
ranks("unequal-replicas", "reject", rows(0), rows(1, v=W[1].clone()))
ranks("replica-of-other-shape", "reject", rows(0), rows(1, v=W[:, 0].clone()))
ranks("replica-of-other-type", "reject", rows(0), rows(1, v=W[0].double()))
ranks("same-rows-twice", "reject", rows(0), rows(1, W[:3].clone(), mesh=Mesh([2], (0,))))
ranks("partial", "reject", rows(0, W.clone(), placements=(Partial(),)), rows(1, W.clone(), placements=(Partial(),)))
ranks("local-too-short", "reject", rows(0), rows(1, W[4:].clone()))
ranks("local-too-long", "reject", rows(0), rows(1, W[2:].clone()))
ranks("coordinate-outside", "reject", rows(0), rows(1, mesh=Mesh([2], (2,))))
ranks("coordinate-negative", "reject", rows(0), rows(1, mesh=Mesh([2], (-1,))))
ranks("coordinate-of-two-axes", "reject", rows(0), rows(1, mesh=Mesh([2], (1, 0))))
ranks("rank-not-in-the-mesh", "reject", rows(0), rows(1, mesh=Mesh([2], None, torch.tensor([0, 7]))))
ranks("mesh-of-nothing", "reject", rows(0), rows(1, mesh=Mesh([0], None)))
ranks("mesh-of-text", "reject", rows(0), rows(1, mesh=Mesh([2], (1,), "0, 1")))
ranks("mesh-of-a-million-million", "reject", rows(0), rows(1, mesh=Mesh([2], (1,), torch.zeros(1, dtype=torch.int32).expand(2**40))))
ranks("two-placements-on-one-axis", "reject", rows(0), rows(1, placements=(Shard(0), Replicate())))
ranks("axis-outside", "reject", rows(0), rows(1, placements=(Shard(2),)))
ranks("split-a-billion-times", "reject", rows(0), rows(1, placements=(_StridedShard(0, split_factor=10**9),)))
ranks("shape-overflows", "reject", rows(0), rows(1, shape=(2**62, 4)))
ranks("shape-negative", "reject", rows(0), rows(1, shape=(-6, 4)))
ranks("placement-unknown", "reject", rows(0), rows(1, placements=(collections.OrderedDict(),)))
ranks("calls-system", "reject", rows(0), rows(1, x=Call(os.system, "true")))
finish()

# ---- zero

start("zero")


class Stage(enum.IntEnum):
    TWO = 2
    THREE = 3


def zero(name, want, change=lambda model, optim: None, stage=2, tag="global_step5", latest="global_step5"):
    """Two ranks: parameters w [6, 4] and v [4], a buffer."""
    expect[name] = want
    flat = torch.cat([W.reshape(-1), W[0]])
    shapes = collections.OrderedDict(w=torch.Size([6, 4]), v=torch.Size([4]))
    model = [{"module": collections.OrderedDict(w=W.half(), v=W[0].half(), b=W[1].clone()), "buffer_names": ["b"], "param_shapes": [shapes],
              "shared_params": {}, "frozen_param_shapes": None, "frozen_param_fragments": None, "dp_world_size": 2, "ds_version": "0.19.8"}
             for _ in range(2)]
    key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
    part = (lambda r: torch.cat([W.reshape(2, 12)[r], W[0].reshape(2, 2)[r]])) if stage == 3 else (lambda r: flat[14 * r:14 * r + 14].clone())
    optim = [{"optimizer_state_dict": {"zero_stage": stage, "partition_count": 2, key: [part(r)]}} for r in range(2)]
    change(model, optim)
    os.makedirs(os.path.join(out, name, tag))
    if latest is not None:
        with open(os.path.join(out, name, "latest"), "w") as f:
            f.write(latest)
    for r in range(2):
        if model[r] is not None and (r == 0 or stage == 3):
            prefix = f"zero_pp_rank_{r}_" if stage == 3 else ""
            torch.save(model[r], os.path.join(out, name, tag, f"{prefix}mp_rank_00_model_states.pt"))
        if optim[r] is not None:
            torch.save(optim[r], os.path.join(out, name, tag, f"bf16_zero_pp_rank_{r}_mp_rank_00_optim_states.pt"))


def states(optim, r=0):
    return optim[r]["optimizer_state_dict"]


zero("sound-stage-2", "accept")
zero("sound-stage-3", "accept", stage=3)
zero("missing-rank", "reject", lambda m, o: o.__setitem__(1, None))
zero("missing-first-rank", "reject", lambda m, o: o.__setitem__(0, None))
zero("missing-model-states", "reject", lambda m, o: m.__setitem__(0, None))
zero("latest-names-nothing", "reject", latest="global_step6")
zero("latest-leads-out", "reject", latest="../sound-stage-2/global_step5")
zero("latest-is-binary", "reject", latest="\0\n\0")
zero("stage-9", "reject", lambda m, o: states(o).update(zero_stage=9))
zero("stage-of-text", "reject", lambda m, o: states(o).update(zero_stage="2"))
zero("partitions-1000000000000", "reject", lambda m, o: states(o).update(partition_count=10**12))
zero("partitions-negative", "reject", lambda m, o: states(o).update(partition_count=-2))
zero("partitions-three", "reject", lambda m, o: states(o).update(partition_count=3))
zero("no-flat-tensors", "reject", lambda m, o: states(o).pop("single_partition_of_fp32_groups"))
zero("flat-tensor-is-a-matrix", "reject", lambda m, o: states(o).update(single_partition_of_fp32_groups=[W]))
zero("flat-tensor-is-text", "reject", lambda m, o: states(o).update(single_partition_of_fp32_groups=["x"]))
zero("flat-tensor-too-short", "reject", lambda m, o: states(o, 1).update(single_partition_of_fp32_groups=[W[0]]))
zero("flat-tensor-too-long", "reject", lambda m, o: states(o, 1).update(single_partition_of_fp32_groups=[torch.zeros(40)]))
zero("flat-tensors-of-two-types", "reject", lambda m, o: states(o, 1).update(single_partition_of_fp32_groups=[torch.zeros(14).half()]))
zero("flat-tensors-of-two-groups", "reject", lambda m, o: states(o, 1).update(single_partition_of_fp32_groups=[W[0], W[1]]))
zero("flat-tensors-unequal-stage-3", "reject", lambda m, o: states(o, 1).update(fp32_flat_groups=[W[0]]), stage=3)
zero("flat-tensor-too-long-stage-3", "reject", lambda m, o: [states(o, r).update(fp32_flat_groups=[torch.zeros(20)]) for r in range(2)], stage=3)
zero("no-groups-stage-3", "reject", lambda m, o: [states(o, r).update(fp32_flat_groups=[]) for r in range(2)], stage=3)
zero("shapes-larger", "reject", lambda m, o: m[0].update(param_shapes=[{"w": torch.Size([600, 400])}]))
zero("shapes-smaller", "reject", lambda m, o: m[0].update(param_shapes=[{"w": torch.Size([2, 4])}]))
zero("shapes-overflow", "reject", lambda m, o: m[0].update(param_shapes=[{"w": torch.Size([2**62, 4])}]))
zero("shapes-negative", "reject", lambda m, o: m[0].update(param_shapes=[{"w": (-6, 4)}]))
zero("shapes-of-text", "reject", lambda m, o: m[0].update(param_shapes=[{"w": "6, 4"}]))
zero("shapes-of-two-groups", "reject", lambda m, o: m[0].update(param_shapes=[{"w": W.shape}, {"v": W[0].shape}]))
zero("paddings-negative", "reject", lambda m, o: states(o).update(param_alignment_paddings=[[-4, 0]]))
zero("paddings-too-few", "reject", lambda m, o: states(o).update(param_alignment_paddings=[[0]]))
zero("frozen-without-fragment", "reject", lambda m, o: m[0].update(frozen_param_shapes={"f": torch.Size([2])}, frozen_param_fragments={}))
zero("frozen-too-short", "reject", lambda m, o: m[0].update(frozen_param_shapes={"f": torch.Size([9])}, frozen_param_fragments={"f": W[0]}))
zero("buffer-is-a-parameter", "reject", lambda m, o: m[0].update(buffer_names=["w"]))
zero("module-is-a-list", "reject", lambda m, o: m[0].update(module=[W]))
zero("calls-system", "reject", lambda m, o: states(o).update(loss_scaler=Call(os.system, "true")))
finish()
