"""Runs griffin on inputs that are made to take long or much memory: python3 limits.py [-v] [--quick]

SECURITY.md has the limits. Each command must end with its exit status within its processor time and 256 MiB; twice the
tensors must take at most 2.6 times the processor time; SIGINT must be heard within 0.1 s. --quick
leaves out conversions that take long and that others resemble. The inputs are made here, since they are large. Only Python's standard library is needed.
"""

import array
import io
import itertools
import json
import math
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import zipfile

import griffin

MIB = 256
RATIO = 2.6


def safetensors(path, header, data=b""):
    text = header.encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    return path


def made(make):
    """Runs a function in a process of its own: the peak of a command's memory starts with that of this process."""
    pid = os.fork()
    if pid == 0:
        make()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("an input could not be made")


def empty(n, name="t%d", shape="0"):
    return ",".join('"%s":{"dtype":"F32","shape":[%s],"data_offsets":[0,0]}' % (name % i, shape) for i in range(n))


def expert(i):
    return f"model.layers.{i // 768}.mlp.experts.{i // 3 % 256}.w{i % 3}.weight"


def matrices(path, n, side, values):
    size = 4 * side * side
    header = ",".join('"%s":{"dtype":"F32","shape":[%d,%d],"data_offsets":[%d,%d]}' % (expert(i), side, side, size * i, size * i + size) for i in range(n))
    return safetensors(path, "{" + header + "}", values.tobytes())


def torch_file(path, tensors, size):
    """A file of torch.save with many names for one deflated storage of zeros."""
    little = struct.Struct("<i").pack

    def text(s):
        return b"X" + little(len(s)) + s.encode()

    pickle = b"\x80\x02}("
    for i in range(tensors):
        pickle += text(f"w{i}") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nByteStorage\n" + text("0") + text("cpu")
        pickle += b"J" + little(size) + b"tQK\x00J" + little(size) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", pickle + b"u.")
        z.writestr("a/version", "3\n")
        z.writestr("a/data/0", bytes(size), compress_type=zipfile.ZIP_DEFLATED, compresslevel=1)
    return path


def packed(*items):
    """A map of msgpack of the given keys and values in turn; values are packed already."""
    return b"\xdf" + struct.pack(">I", len(items) // 2) + b"".join(b"\xda" + struct.pack(">H", len(x)) + x.encode() if i % 2 == 0 else x for i, x in enumerate(items))


ONE_ELEMENT = b"\xc7\x12\x01\x93\x92\x01\x01\xa7float32\xc4\x04" + bytes(4)  # an array of shape [1, 1]


def flax(path, tensors):
    """A directory with a msgpack file of so many arrays."""
    block = packed("mlp", packed("up", packed("kernel", ONE_ELEMENT, "bias", ONE_ELEMENT), "down", packed("w", ONE_ELEMENT)), "norm", packed("scale", ONE_ELEMENT))
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/checkpoint", "wb") as f:
        f.write(packed("params", packed(*itertools.chain(*((f"blocks.{i}", block) for i in range(tensors // 4))))))


def nested(path, depth, key, leaves, leaf):
    """A directory with a msgpack file of leaves at the end of a path of long keys."""
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/checkpoint", "wb") as f:
        for _ in range(depth):
            f.write(b"\xdf\x00\x00\x00\x01\xda" + struct.pack(">H", key) + b"k" * key)
        f.write(packed(*itertools.chain(*((str(i), leaf) for i in range(leaves)))))


def many_torch(path, n, shared):
    """A file of torch.save with n tensors: each has a storage of its own, or all share one."""
    little = struct.Struct("<i").pack

    def text(s):
        return b"X" + little(len(s)) + s.encode()

    parts = [b"\x80\x02}("]
    for i in range(n):
        storage, at = ("0", i) if shared else (str(i), 0)
        parts.append(text(expert(i)) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text(storage) + text("cpu")
                     + b"J" + little(n if shared else 1) + b"tQJ" + little(at) + b"K\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR")
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", b"".join(parts) + b"u.")
        z.writestr("a/version", "3\n")
        for i in range(1 if shared else n):
            z.writestr(f"a/data/{i}", array.array("f", range(n) if shared else [i]).tobytes())


def hostile_torch(path, item, n):
    """A file of torch.save whose pickle repeats an item until its memory or its size exceeds a limit."""
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", b"\x80\x02" + item * n + b".")
        z.writestr("a/version", "3\n")


HOSTILE_FIELDS = [(name, n) for name in ("num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size", "num_attention_heads", "head_dim", "lru_width", "conv1d_width")
                  for n in (2**31 - 1, 2**63 - 1)] + [("attention_window_size", 2**62), ("block_types", ["recurrent"] * 50_000), ("block_types", ["recurrent"] * 500_000)]


def configuration(path, field, value):
    """A directory whose config.json states what its small weights do not have."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(f"{griffin.REPOSITORY}/testdata/odd-griffin/hf", path)
    with open(f"{path}/config.json") as f:
        fields = json.load(f)
    with open(f"{path}/config.json", "w") as f:
        json.dump(fields | {field: value}, f)


def shapes_of_layer(width):
    square, vector, gates = [width, width], [width], [1, width, width]
    return {"temporal_pre_norm.weight": vector, "channel_pre_norm.weight": vector, **{f"mlp_block.{p}_proj.{kind}": shape for p in ("gate", "up", "down")
            for kind, shape in (("weight", square), ("bias", vector))}, "temporal_block.conv_1d.weight": [width, 1, 4], "temporal_block.conv_1d.bias": vector,
            **{f"temporal_block.linear_{p}.{kind}": shape for p in ("x", "y", "out") for kind, shape in (("weight", square), ("bias", vector))},
            **{f"temporal_block.rg_lru.{p}_gate_{kind}": shape for p in ("input", "recurrent") for kind, shape in (("weight", gates), ("bias", [1, width]))},
            "temporal_block.rg_lru.recurrent_param": vector}


def hawk_tensors(tensors, width):
    """Names and shapes of a model of recurrent layers that has about so many tensors."""
    layer = shapes_of_layer(width)
    named = [("model.embed_tokens.weight", [width, width]), ("model.final_norm.weight", [width])]
    return named + [(f"model.layers.{i}.{tail}", shape) for i in range((tensors - 2) // len(layer)) for tail, shape in layer.items()]


def hawk(path, tensors, value, width=4, axes=()):
    """A Hugging Face directory of such a model, all elements of which are value. Each tensor has the given axes more."""
    os.makedirs(path, exist_ok=True)
    at, header = 0, []
    for name, shape in hawk_tensors(tensors, width):
        end = at + 4 * math.prod(shape)
        header.append('"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}' % (name, ",".join(map(str, [*shape, *axes])), at, end))
        at = end
    safetensors(f"{path}/model.safetensors", "{" + ",".join(header) + "}", struct.pack("<f", value) * (at // 4))
    hawk_config(path, tensors, width)


def hawk_config(path, tensors, width):
    layers = (tensors - 2) // len(shapes_of_layer(width))
    with open(f"{griffin.REPOSITORY}/testdata/odd-griffin/hf/config.json") as f:
        fields = json.load(f)
    with open(f"{path}/config.json", "w") as f:
        json.dump(fields | {"block_types": ["recurrent"] * (layers // 100 + 1), "hidden_size": width, "intermediate_size": 2 * width, "lru_width": width, "head_dim": width,
                            "num_attention_heads": 1, "num_hidden_layers": layers, "vocab_size": width}, f)


def lora(path, tensors):
    """An adapter of rank 1 for all matrices of linear layers among tensors of the given names and shapes."""
    os.makedirs(path, exist_ok=True)
    at, header = 0, []
    for name, shape in tensors:
        if len(shape) == 2 and ("_proj" in name or "linear_" in name):
            for factor, sizes in (("A", [1, shape[1]]), ("B", [shape[0], 1])):
                end = at + 4 * math.prod(sizes)
                header.append('"base_model.model.%s":{"dtype":"F32","shape":[%d,%d],"data_offsets":[%d,%d]}' % (name.replace("weight", f"lora_{factor}.weight"), *sizes, at, end))
                at = end
    safetensors(f"{path}/adapter_model.safetensors", "{" + ",".join(header) + "}", struct.pack("<f", 0.25) * (at // 4))
    with open(f"{path}/adapter_config.json", "w") as f:
        json.dump({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "bias": "none", "target_modules": ["gate_proj", "up_proj", "down_proj", "linear_x", "linear_y", "linear_out"]}, f)


def pickled(n):
    """An integer, a text or a tuple of integers in a pickle."""
    if isinstance(n, str):
        return b"X" + struct.pack("<I", len(n)) + n.encode()
    return b"J" + struct.pack("<i", n) if isinstance(n, int) else b"(" + b"".join(map(pickled, n)) + b"t"


MEMO = {}  # classes and texts that a pickle keeps at its beginning, with their indexes


def kept(value):
    return b"h%c" % MEMO.setdefault(value, len(MEMO))


def instance(module, name, *items):
    """An instance of a class with attributes, given as keys and pickled values in turn."""
    return (kept(f"ctorch.distributed.checkpoint.{module}\n{name}\n".encode()) + b")\x81}("
            + b"".join(kept(pickled(x)) if i % 2 == 0 else x for i, x in enumerate(items)) + b"ub")


def torch_size(shape):
    return kept(b"ctorch\nSize\n") + pickled(shape) + b"\x85R"


class Pipe(io.BytesIO):
    """Makes zipfile write checksums after the data, as torch does."""
    def seek(self, *_):
        raise OSError


def view(storage, elements, offset, shape):
    """A tensor of floats in a pickle."""
    strides = [math.prod(shape[i + 1:]) for i in range(len(shape))]
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + pickled("storage") + b"ctorch\nFloatStorage\n" + pickled(storage) + pickled("cpu") + pickled(elements) + b"tQ" + pickled(offset)
            + pickled(shape) + pickled(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def saved(shape):
    """A file of torch.save with one tensor of halves."""
    out = Pipe()
    with zipfile.ZipFile(out, "w") as z:
        for name, content in (("data.pkl", b"\x80\2" + view("0", math.prod(shape), 0, shape) + b"."), ("version", b"3\n"), ("data/0", struct.pack("<f", 0.5) * math.prod(shape))):
            z.writestr("a/" + name, content)
    return out.getvalue()


def distributed(path, tensors, ranks):
    """A directory of torch.distributed.checkpoint with tensors of the given names and shapes, each cut along an axis into one chunk for each rank. Chunks of
    one shape are stored at one place of a rank's file, since their content is the same."""
    os.makedirs(path, exist_ok=True)
    files = [open(f"{path}/__{r}_0.distcp", "wb") for r in range(ranks)]
    properties = instance("metadata", "TensorProperties")[:-4] + b"(ctorch\nfloat32\nNtb"
    storage, places = {}, {}  # of a shape: the TensorStorageMetadata, and for each rank what follows a name in the storage data
    for shape in {tuple(shape) for _, shape in tensors}:
        axis = next(k for k, n in enumerate(shape) if n % ranks == 0)
        part = [n // ranks if k == axis else n for k, n in enumerate(shape)]
        offsets = [torch_size([r * part[axis] if k == axis else 0 for k in range(len(shape))]) for r in range(ranks)]
        chunks = [instance("metadata", "ChunkStorageMetadata", "offsets", offset, "sizes", torch_size(part)) for offset in offsets]
        storage[shape] = instance("metadata", "TensorStorageMetadata", "properties", properties, "size", torch_size(shape), "chunks", b"](" + b"".join(chunks) + b"e")
        content = saved(part)
        places[shape] = [kept(pickled("offset")) + offset + b"ub" + instance("filesystem", "_StorageInfo", "relative_path", pickled(f"__{r}_0.distcp"), "offset", pickled(files[r].tell() - len(content)), "length", pickled(len(content)))
                         for r, offset in enumerate(offsets) if files[r].write(content)]
    for f in files:
        f.close()
    index = instance("metadata", "MetadataIndex", "fqn", b"")[:-2]
    batches = [tensors[i:i + 1000] for i in range(0, len(tensors), 1000)]
    with open(f"{path}/.metadata", "wb") as f:
        root = instance("metadata", "Metadata")[:-2]
        f.write(b"\x80\4" + b"".join(value + b"q%c0" % i for value, i in MEMO.items()) + root + pickled("state_dict_metadata") + b"}")
        for batch in batches:
            f.write(b"(" + b"".join(pickled(name) + storage[tuple(shape)] for name, shape in batch) + b"u")
        f.write(pickled("storage_data") + b"}")
        for r in range(ranks):
            for batch in batches:
                f.write(b"(" + b"".join(index + pickled(name) + places[tuple(shape)][r] for name, shape in batch) + b"u")
        f.write(b"ub.")


def items(pairs):
    """A dict of names and pickled values, set a thousand at a time as Python does."""
    return b"}" + b"".join(b"(" + b"".join(pickled(name) + value for name, value in pairs[i:i + 1000]) + b"u" for i in range(0, len(pairs), 1000))


def states(path, pickle, lengths):
    """A file of states as DeepSpeed writes it, with storages of so many floats."""
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", b"\x80\2" + pickle + b".")
        z.writestr("a/version", "3\n")
        for i, n in enumerate(lengths):
            z.writestr(f"a/data/{i}", struct.pack("<f", 0.5) * n)


def zero(path, tensors, ranks, stage):
    """A DeepSpeed ZeRO checkpoint with tensors of the given names and shapes. Each tensor of the model has a storage of its own, which is empty at stage 3."""
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    shapes = [([0] if stage == 3 else shape) for _, shape in tensors]
    sizes = [math.prod(shape) for shape in shapes]
    model = [(name, view(str(i), n, 0, shape)) for i, ((name, _), shape, n) in enumerate(zip(tensors, shapes, sizes))]
    parameters = [(name, b"ctorch\nSize\n" + pickled(shape) + b"\x85R") for name, shape in tensors]
    rank = "zero_pp_rank_0_" if stage == 3 else ""
    states(f"{path}/{rank}mp_rank_00_model_states.pt", items([("module", items(model)), ("param_shapes", b"](" + items(parameters) + b"e")]), sizes)
    total = sum(math.prod(shape) for _, shape in tensors)
    part = sum(-(-math.prod(shape) // ranks) for _, shape in tensors) if stage == 3 else -(-total // ranks)
    key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
    for r in range(ranks):
        n = part if stage == 3 else min(part, total - r * part)
        states(f"{path}/zero_pp_rank_{r}_mp_rank_00_optim_states.pt", items([("optimizer_state_dict", items(
            [("zero_stage", pickled(stage)), ("partition_count", pickled(ranks)), (key, b"](" + view("0", n, 0, [n]) + b"e")]))]), [n])
    hawk_config(path, len(tensors), 4)


def hostile_distributed(path, head, item, n):
    """A .metadata that repeats an item until its memory or its size exceeds a limit."""
    with open(f"{path}/.metadata", "wb") as f:
        f.write(b"\x80\4" + b"".join(value + b"q%c0" % i for value, i in MEMO.items()) + head + item * n + b".")


def record(path, lists):
    """A directory with a conversion.json of 16 MB that has very many items."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(f"{griffin.REPOSITORY}/testdata/odd-griffin/hf", path)
    with open(f"{path}/conversion.json", "w") as f:
        f.write('{"griffin":"v1","layout":"huggingface",' + lists + "}")


def another_digest(path):
    """Changes the digest of the last tensor in a conversion.json."""
    with open(path, "r+b") as f:
        text = f.read()
        f.seek(text.rindex(b'"blake3": "', 0, text.rindex(b'"rule": ')) + len(b'"blake3": "'))
        f.write(b"00")


def spawn(argv, err):
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, err.fileno(), 2)])
    finally:
        os.close(null)


def limited(verbose, want, seconds, *args):
    """Runs a command and returns what is wrong with its exit status, processor time and memory."""
    with tempfile.TemporaryFile() as err:
        pid = spawn([griffin.BINARY, *args], err)
        _, status, usage = os.wait4(pid, 0)
        err.seek(0)
        error = err.read().decode(errors="replace").strip()
    code, took, mib = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    if verbose:
        print(f"{code} {took:5.2f} s {mib:4.0f} MiB  {' '.join(args)[-60:]}: {error[:120]}")
    problems = []
    if code != want:
        problems.append(f"exit status {code}, want {want}: {error[:300]}")
    if took > seconds:
        problems.append(f"took {took:.1f} s of a processor, want at most {seconds}")
    if mib > MIB:
        problems.append(f"used {mib:.0f} MiB, want at most {MIB}")
    return "; ".join(problems)


def linear(verbose, make, size, *args):
    """Runs a command on an input of half the size and of the whole, and returns what is wrong with the ratio of their processor times."""
    best = [float("inf")] * 2
    for _ in range(3):  # other work on the machine can only add to the times
        for i, n in enumerate((size // 2, size)):
            made(lambda: make(n))
            for _ in range(2):
                pid = spawn([griffin.BINARY, *args], sys.stderr)
                _, status, usage = os.wait4(pid, 0)
                if os.waitstatus_to_exitcode(status) not in (0, 1):
                    return f"exit status {os.waitstatus_to_exitcode(status)}"
                best[i] = min(best[i], usage.ru_utime + usage.ru_stime)
        ratio = best[1] / max(best[0], 0.05)
        if ratio <= RATIO:
            break
    if verbose:
        print(f"{best[0]:.2f} s and {best[1]:.2f} s for twice as many: {ratio:.2f}  {' '.join(args)[-60:]}")
    return f"twice as many take {ratio:.1f} times as long, want at most {RATIO}" if ratio > RATIO else ""


def interrupted(verbose, *args):
    """Interrupts a command that takes long. On a busy machine, a signal may wait for a processor: the best of several counts."""
    best, code = 9.0, None
    for _ in range(8):
        with tempfile.TemporaryFile() as err:
            pid = spawn([griffin.BINARY, *args], err)
            time.sleep(0.4)
            os.kill(pid, signal.SIGINT)
            sent = time.monotonic()
            _, status = os.waitpid(pid, 0)
        took, code = time.monotonic() - sent, os.waitstatus_to_exitcode(status)
        best = min(best, took)
        if best <= 0.1 or code != 130:
            break
    if verbose:
        print(f"{code} {best:.3f} s after SIGINT  {' '.join(args)[-60:]}")
    if code != 130:
        return f"exit status {code}, want 130"
    return f"took {best:.2f} s to end" if best > 0.1 else ""


def main():
    verbose, quick = "-v" in sys.argv[1:], "--quick" in sys.argv[1:]
    score = griffin.Score("limits")

    def check(label, want, seconds, *args):
        score.attempt(label, limited, verbose, want, seconds, *args)

    with tempfile.TemporaryDirectory(prefix="griffin-limits-") as root:
        os.chdir(root)
        one = '"t":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'

        def header(label, want, seconds, text, *flags):
            made(lambda: safetensors("header", "{" + text() + "}"))
            check(label, want, seconds, "inspect", *flags, "header")

        def metadata(n):
            return '"__metadata__":{' + ",".join('"%d":""' % i for i in range(n)) + "}," + one

        header("a header of 1.5 million tensors", 3, 2, lambda: empty(1_500_000))
        header("6 million members of metadata", 3, 2, lambda: metadata(6_000_000))
        header("4 million members of metadata, in a header that is read", 3, 2, lambda: metadata(4_000_000))
        header("200,001 tensors", 3, 4, lambda: empty(200_001))
        header("millions of axes", 3, 3, lambda: empty(100_000, shape=",".join(["1"] * 63 + ["0"])))
        for flag in ("--tree", "--json", "--digest", "--stats"):
            header(f"200,000 tensors, {flag}", 0, 20, lambda: empty(200_000, name="model.layers.%d." + "x" * 95), flag)
        for shape in (",".join(["1"] * 60 + ["0"]), "0,9223372036854775807", ",".join(["65536"] * 3 + ["0"])):
            header("statistics of the shape " + shape[-30:], 0, 2, lambda: empty(100, shape=shape), "--stats")
        header("a name that would make a table wide", 0, 10, lambda: one.replace("t", "x" * 4000, 1) + "," + empty(150_000))

        header("a field that has 5 million members", 3, 2, lambda: one[:-1] + ',"x":{' + ",".join('"%d":0' % i for i in range(5_000_000)) + "}}")

        made(lambda: flax("arrays", 200_000))
        for file in ("arrays", "arrays/checkpoint"):
            check(f"200,000 arrays of Flax, {file}", 0, 8, "inspect", "--digest", file)
        for label, shape in (("long keys", (500, 60_000, 100, b"\xc0")), ("many names", (500, 6, 50_000, ONE_ELEMENT)), ("many leaves", (500, 6, 300_000, b"\xc0"))):
            made(lambda: nested("nested", *shape))
            for file in ("nested", "nested/checkpoint"):
                check(f"a deep tree with {label}, {file}", 0 if label == "many leaves" and file != "nested" else 3, 2, "inspect", file)

        rows = '"tokens":{"dtype":"I64","shape":[16777216,1],"data_offsets":[0,134217728]}'
        made(lambda: safetensors("tokens", "{" + rows + "}", bytes(1 << 27)))
        check("16 million rows of tokens", 2, 2, "generate", f"{griffin.REPOSITORY}/testdata/tiny-griffin/hf", "--tokens", "tokens", "--max-tokens", "2")

        for i in range(20_000):
            os.makedirs(f"run/{i}")
        check("a training run of 20,000 empty steps", 3, 2, "inspect", "run")
        check("the steps of a training run of 20,000 empty ones", 2, 3, "convert", "--all-steps", "run", "out")

        os.mkdir("index")
        safetensors("index/a.safetensors", "{" + one + "}")

        def index(n, file):
            with open("index/model.safetensors.index.json", "w") as f:
                f.write('{"weight_map":{' + ",".join('"t%d":"%s"' % (i, file(i)) for i in range(n)) + "}}")

        made(lambda: index(1_000_000, lambda i: "a.safetensors"))
        check("an index of a million tensors", 3, 4, "inspect", "index")
        made(lambda: index(500_000, lambda i: f"{i}.safetensors"))
        check("an index of half a million files", 3, 4, "inspect", "index")

        def pair(n, side, noise):
            rng = random.Random(0)
            before = array.array("f", (rng.gauss(0, 0.02) for _ in range(n * side * side)))
            matrices("a", n, side, before)
            matrices("b", n, side, array.array("f", (x + rng.gauss(0, noise) for x in before)))

        made(lambda: pair(4000, 8, 1e-4))
        check("diff of 4,000 changed tensors of one shape", 1, 12, "diff", "a", "b")
        made(lambda: pair(200_000, 1, 0))
        check("diff of 200,000 equal tensors", 0, 30, "diff", "a", "b")
        made(lambda: pair(200_000, 1, 1e-4))
        check("diff of 200,000 changed tensors", 1, 60, "diff", "a", "b")
        check("diff of 200,000 changed tensors as JSON", 1, 60, "diff", "--json", "a", "b")
        check("a page of 200,000 changed tensors", 1, 80, "diff", "--report", "page.html", "a", "b")
        with open("rules", "w") as f:
            f.writelines(f"{expert(i)} -> renamed.{i}\n" for i in range(10_000))
        check("diff of 200,000 tensors with 10,000 rules", 1, 40, "diff", "--map", "rules", "a", "b")
        check("statistics of 200,000 tensors as JSON", 0, 30, "inspect", "--stats", "--json", "a")
        check("200,000 tensors to safetensors", 0, 30, "convert", "--to", "safetensors", "a", "copy.safetensors")

        for label, lists in (("tensors", '"tensors":[' + ",".join(["{}"] * 5_500_000) + "]"), ("parts", '"tensors":[{"from":[' + ",".join(["null"] * 3_300_000) + "]}]"),
                             ("names", '"left":[' + ",".join(['""'] * 5_500_000) + "]"), ("files", '"files":[' + ",".join(["{}"] * 2_500_000) + "]"), ("axes", '"tensors":[{"shape":[' + ",".join(["1"] * 8_200_000) + "]}]")):
            made(lambda: record("record", lists))
            check(f"a conversion.json of very many {label}", 0, 8, "inspect", "record")

        made(lambda: hawk("hawk", 200_000, 0.5))
        check("a model of 200,000 tensors to a Hugging Face directory", 0, 60, "convert", "hawk", "converted")
        check("the conversion.json of 200,000 tensors", 0, 12, "inspect", "converted")
        check("200,000 tensors of a model with a conversion.json to another directory", 0, 60, "convert", "converted", "again")
        check("200,000 tensors of a model, verified", 0, 60, "verify", "hawk", "converted")
        check("200,000 tensors of a model, verified, as JSON", 0, 60, "verify", "--json", "hawk", "converted")
        check("200,000 tensors of a model, converted and verified", 0, 60, "convert", "--verify", "--overwrite", "hawk", "converted")
        made(lambda: hawk("hawk", 200_000, 0.75))
        check("200,000 tensors, all of which differ", 1, 60, "verify", "hawk", "converted")
        check("200,000 tensors, all of which differ, as JSON", 1, 60, "verify", "--json", "hawk", "converted")

        if not quick:
            made(lambda: hawk("hawk", 200_000, 0.5, axes=(1,)))
            check("200,000 tensors with an axis more", 1, 60, "verify", "converted", "hawk")

        made(lambda: hawk("hawk", 200_000, 0.5))
        check("200,000 tensors of a model with a conversion.json to a torch file", 0, 60, "convert", "--to", "torch", "converted", "model.pt")
        made(lambda: another_digest("again/conversion.json"))
        check("a wrong digest at the end of the conversion.json of 200,000 tensors", 1, 60, "verify", "hawk", "again")
        check("200,000 tensors of a model to a torch file, verified", 0, 60, "convert", "--to", "torch", "--verify", "--overwrite", "hawk", "model.pt")
        if not quick:
            check("200,000 tensors of a model to Orbax, verified", 0, 90, "convert", "--to", "orbax", "--verify", "hawk", "model.orbax")
            check("diff of 200,000 tensors in two layouts", 0, 60, "diff", "hawk", "model.orbax")
        check("a torch file of 200,000 tensors of a model", 0, 12, "inspect", "model.pt")
        for label, shared in (("200,000 storages", False), ("200,000 views of a storage", True)):
            made(lambda: many_torch("many", 200_000, shared))
            check(f"a torch file of {label}", 0, 12, "inspect", "many")
            check(f"a digest of {label}", 0, 15, "inspect", "--digest", "many")
            check(f"{label} to safetensors, verified", 0, 40, "convert", "--to", "safetensors", "--verify", "--overwrite", "many", "copy.safetensors")
        check("diff of 200,000 views", 0, 40, "diff", "many", "copy.safetensors")
        made(lambda: many_torch("many", 200_001, True))
        check("a torch file of 200,001 tensors", 3, 12, "inspect", "many")
        for label, item, n in (("lists", b"]", 15_000_000), ("marks", b"(", 15_000_000), ("texts", b"X\2\0\0\0ab", 9_000_000), ("tuples", b")\x85", 12_000_000),
                               ("memo entries", b"]q\0h\0", 13_000_000), ("classes", b"cm\nC\n)\x81", 8_000_000)):
            made(lambda: hostile_torch("hostile.pt", item, n))
            check(f"a pickle of very many {label}", 3, 12, "inspect", "hostile.pt")

        for label, ranks in (("1.6 million chunks", 8), ("200,000 chunks", 1))[quick:]:
            made(lambda: distributed("ranks", hawk_tensors(200_000, 8), ranks))
            hawk_config("ranks", 200_000, 8)
            check(f"a digest of {label}", 0, 60, "inspect", "--digest", "ranks")
        if not quick:
            check("200,000 chunks to a Hugging Face directory", 0, 60, "convert", "--overwrite", "ranks", "converted")
            made(lambda: distributed("ranks", [(f"w{i}", [16]) for i in range(140_000)], 16))
            check("2.2 million chunks", 3, 60, "inspect", "ranks")
            for stage in (1, 3):
                made(lambda: zero("zero", hawk_tensors(200_000, 4), 8, stage))
                check(f"a digest of 200,000 tensors of ZeRO of stage {stage}", 0, 60, "inspect", "--digest", "zero")
                check(f"200,000 tensors of ZeRO of stage {stage} to safetensors", 0, 90, "convert", "--overwrite", "--to", "safetensors", "zero", "copy.safetensors")
                check(f"200,000 tensors of ZeRO of stage {stage} to a Hugging Face directory", 0, 90, "convert", "--overwrite", "zero", "converted")
        chunk = instance("metadata", "ChunkStorageMetadata", "offsets", torch_size([0]), "sizes", torch_size([1]))
        for label, head, item, n in (("lists", b"", b"]", 5_000_000), ("nested tuples", b")", b"\x85", 5_000_000), ("marks", b"", b"(", 5_000_000), ("chunks of a tensor", b"](", chunk, 2_000_000),
                                     ("names", b"}(", instance("metadata", "MetadataIndex", "fqn", pickled("x" * 99)) + b"N", 2_000_000)):
            made(lambda: hostile_distributed("ranks", head, item, n))
            check(f"a .metadata of very many {label}", 3, 20, "inspect", "ranks")

        tensors = 100_000 if quick else 200_000
        made(lambda: hawk("hawk", tensors, 0.5))
        made(lambda: lora("lora", hawk_tensors(tensors, 4)))
        check(f"{tensors:,} tensors with an adapter", 0, 60, "convert", "--overwrite", "--adapter", "lora", "hawk", "converted")

        # Below the number at which the garbage collector works harder to keep within the memory.
        for args in (("inspect", "--json", "a"), ("inspect", "--stats", "a"), ("diff", "a", "b")):
            score.attempt(f"linear: {args[0]} {args[1]}", linear, verbose, lambda n: pair(n, 1, 1e-4), 80_000, *args)
        for args in (("--dry-run", "a", "no"), ("--overwrite", "a", "copy.safetensors"), ("--overwrite", "--max-shard-size", "100B", "a", "shards")):
            size = 5000 if "shards" in args else 80_000
            score.attempt("linear: convert " + args[-1], linear, verbose, lambda n: pair(n, 1, 0), size, "convert", "--to", "safetensors", *args)

        for field, value in HOSTILE_FIELDS:
            configuration("hostile", field, value)
            for args in (("golden", "hostile", "--random", "4", "--out", "out"), ("generate", "hostile", "--tokens", "1,2", "--max-tokens", "2"), ("perplexity", "hostile", "--tokens", "1,2,3")):
                check(f"{args[0]}: {field} {str(value)[:20]}", 3, 2, *args)

        made(lambda: torch_file("aliased", 2000, 32 << 20))
        check("2,000 tensors in one deflated storage", 3, 2, "inspect", "--digest", "aliased")
        made(lambda: torch_file("zeros", 1, 1 << 30))
        score.attempt("SIGINT while a storage is inflated", interrupted, verbose, "inspect", "--digest", "zeros")
        made(lambda: safetensors("header", "{" + empty(200_000) + "}"))
        score.attempt("SIGINT while a header is parsed and printed", interrupted, verbose, "inspect", "--json", "header")
        os.chdir("/")
    score.finish()


if __name__ == "__main__":
    main()
