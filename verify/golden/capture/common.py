# The part that all capture scripts share: the command line, tokens, the digest of the weights, and the fixture file.
# It needs only numpy, so that it runs wherever the implementation does.

import argparse
import hashlib
import json
import math
import os
import struct
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np

if os.path.basename(sys.argv[0]) in ("jax.py", "torch.py", "transformers.py"):
    sys.exit(f"{sys.argv[0]}: this name hides the library with the same name: rename the script")


def new_file(path):
    """The path of a file to write, which replaces none but an empty one: neither weights nor another recording."""
    if os.path.isdir(path) or os.path.isfile(path) and os.path.getsize(path):
        raise argparse.ArgumentTypeError(f"{path} exists: give another name, or remove it if it is not needed")
    return path


def parser(description):
    """The options that all scripts have."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", help="a checkpoint that the implementation loads")
    p.add_argument("--out", required=True, type=new_file, metavar="FILE", help="the fixture to write, a safetensors file that is not there yet")
    p.add_argument("--tokens", metavar="FILE", help="run the tokens in a safetensors file: int32 [batch, length], and optionally positions and "
                   "packed.positions (rows of several documents, each from 0); every fixture is such a file")
    p.add_argument("--random", type=int, metavar="N", help="run one row of N random tokens")
    p.add_argument("--seed", type=int, default=0, metavar="S", help="with --random: choose the tokens by seed S")
    p.add_argument("--dtype", metavar="TYPE", help="compute in TYPE: float32, bfloat16, float16 or float64 (default: that of the weights)")
    p.add_argument("--logits-only", action="store_true", help="do not write the hidden states")
    p.add_argument("--no-digest", action="store_true", help="do not compute the SHA-256 of the weights, which reads them again")
    return p


def add_original_options(p):
    """The options of the original implementation, whose checkpoints do not have the whole configuration."""
    p.add_argument("--preset", choices=PRESETS, help="take the settings of a published model (default: recognised by its shapes)")
    p.add_argument("--attention-window", type=int, metavar="N", help="a token attends to itself and the last N tokens")
    p.add_argument("--logits-soft-cap", type=float, metavar="X", help="logits are tanh(x/X)*X; 0 means no cap")
    p.add_argument("--embedding-scale", choices=("true", "false"), help="whether embeddings are multiplied by sqrt(width)")
    p.add_argument("--decode-from", type=int, metavar="N", help="also record the logits of decoding token by token, from token N of each row on")


# width, heads, RG-LRU width, blocks, attention blocks; window, cap, scale
PRESETS = {
    "2b": ((2560, 10, 2560, 26, 8), (2048, 30.0, True)),
    "9b": ((4096, 16, 4096, 38, 12), (2048, 30.0, True)),
    "griffin-paper-7b": ((4096, 32, 5632, 32, 10), (1024, 0.0, False)),
    "hawk-paper-7b": ((4096, 32, 5632, 32, 0), (1024, 0.0, False)),
}


def original_config(args, shapes):
    """The GriffinConfig of parameters with these shapes, by their names joined with dots (Flax's or torch's)."""
    from recurrentgemma import common
    vocabulary, width = shapes["embedder.input_embedding"]
    kinds, heads, lru = [], None, None
    while f"blocks.{len(kinds)}.channel_pre_norm.scale" in shapes:
        block = f"blocks.{len(kinds)}."
        gate = shapes.get(block + "recurrent_block.rg_lru.a_gate.w")
        if gate:
            heads, lru = gate[0], gate[0] * gate[1]
            kinds.append(common.TemporalBlockType.RECURRENT)
        else:
            flax, torch = (shapes.get(block + "attention_block.proj_k." + k) for k in ("kernel", "weight"))
            heads = heads or width // (flax[1] if flax else torch[0])
            kinds.append(common.TemporalBlockType.ATTENTION)
    seen = (width, heads, lru, len(kinds), kinds.count(common.TemporalBlockType.ATTENTION))
    known = [name for name, (shape, _) in PRESETS.items() if shape == seen]
    if args.preset and args.preset not in known:
        sys.exit(f"the checkpoint is not of preset {args.preset}: (width, heads, RG-LRU width, blocks, attention blocks) are {seen}")
    window, cap, scale = PRESETS[known[0]][1] if known else (None, None, None)
    window = window if args.attention_window is None else args.attention_window
    cap = cap if args.logits_soft_cap is None else args.logits_soft_cap
    scale = scale if args.embedding_scale is None else args.embedding_scale == "true"
    if None in (window, cap, scale):
        sys.exit("the settings cannot be inferred from the shapes: add --attention-window N --logits-soft-cap X --embedding-scale true|false")
    return common.GriffinConfig(
        vocab_size=vocabulary, width=width, mlp_expanded_width=shapes["blocks.0.mlp_block.ffw_up.w"][2], num_heads=heads,
        lru_width=lru, block_types=tuple(kinds), embeddings_scale_by_sqrt_dim=scale, attention_window_size=window, logits_soft_cap=cap)


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} of a file, mapped; and its metadata."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        length, = struct.unpack("<Q", f.read(8))
        if length > size - 8:
            sys.exit(f"{path}: not a safetensors file")
        header = json.loads(f.read(length))
    data = np.memmap(path, np.uint8, "r", 8 + length) if size > 8 + length else np.empty(0, np.uint8)
    meta = header.pop("__metadata__", {})
    return {k: (v["dtype"], tuple(v["shape"]), data[slice(*v["data_offsets"])]) for k, v in header.items()}, meta


class Inputs:
    """tokens, positions and packed (None where there are no packed rows), int32 [batch, length]."""

    def __init__(self, args, vocabulary):
        if (args.tokens is None) == (args.random is None):
            sys.exit("give either --tokens FILE or --random N")
        self.packed = None
        if args.random is not None:
            random = np.random.default_rng(args.seed)
            self.tokens = random.integers(0, vocabulary, (1, args.random)).astype(np.int32)
            stored = {}
        else:
            stored, _ = read_safetensors(args.tokens)
            self.tokens = self.integers(args.tokens, stored, "tokens")
        batch, length = self.tokens.shape
        self.positions = np.broadcast_to(np.arange(length, dtype=np.int32), (batch, length)).copy()
        if "positions" in stored:
            self.positions = self.integers(args.tokens, stored, "positions")
        if "packed.positions" in stored:
            self.packed = self.integers(args.tokens, stored, "packed.positions")
        if self.tokens.min() < 0 or self.tokens.max() >= vocabulary:
            sys.exit(f"tokens are outside the vocabulary of {vocabulary}")

    @staticmethod
    def integers(path, stored, name):
        if name not in stored or stored[name][0] != "I32" or len(stored[name][1]) != 2:
            sys.exit(f"{path}: {name} is not int32 [batch, length]")
        _, shape, data = stored[name]
        return data.view("<i4").reshape(shape).astype(np.int32)

    def passes(self):
        """(prefix of the tensors' names, positions) of each pass."""
        yield "", self.positions
        if self.packed is not None:
            yield "packed.", self.packed


def digest(layout, parameters):
    """Identifies weights as `griffin` does: the SHA-256 of sorted lines "NAME DTYPE SHAPE SHA256", one for each parameter.

    parameters gives (name from the model's root on, dtype by torch's name, shape, row-major little-endian bytes).
    """
    lines = sorted(f"{name} {dtype} {'x'.join(map(str, shape))} {hashlib.sha256(data).hexdigest()}\n" for name, dtype, shape, data in parameters)
    return f"{layout} sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def versions(*packages):
    out = {}
    for package in packages:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            pass
    return out


def torch_precision(device):
    """Where torch computes, and the flags that change how it rounds products."""
    import torch
    cuda = torch.device(device).type == "cuda"
    return dict(
        backend=f"cuda {torch.cuda.get_device_name(device)}" if cuda else str(device), threads=torch.get_num_threads(),
        float32_matmul_precision=torch.get_float32_matmul_precision(),
        allow_tf32=torch.backends.cuda.matmul.allow_tf32,
        allow_bf16_reduced_precision_reduction=torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        mkldnn=torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)


def write_fixture(path, arrays, metadata, to_numpy):
    """Writes {name: array} as safetensors, float32 and int32, one tensor after the other, and renames the file into place.

    to_numpy turns a part of an array of the implementation into numpy's float32.
    """
    header, at = {"__metadata__": {k: str(v) for k, v in metadata.items()}}, 0
    order = sorted(arrays)
    for name in order:
        shape = list(arrays[name].shape)
        size = 4 * math.prod(shape)
        kind = "I32" if name == "tokens" or name.endswith("positions") else "F32"
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    unfinished = path + ".unfinished"
    with open(unfinished, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            if header[name]["dtype"] == "I32":
                f.write(np.ascontiguousarray(arrays[name], "<i4").tobytes())
                continue
            for row in arrays[name]:  # a row of the batch at a time
                f.write(np.ascontiguousarray(to_numpy(row), "<f4").tobytes())
        f.flush()
        os.fsync(f.fileno())
    os.replace(unfinished, path)
    print(f"{path}: {len(order)} tensors, {at / 1e6:.1f} MB")
    for key, value in metadata.items():
        print(f"  {key}: {value}")
