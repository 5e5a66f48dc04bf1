"""The checkpoints that differential.py starts from, and how it changes them.

A Seed is a small checkpoint of one container. Bytes of any of its files are changed; a container with an inner structure is also
changed in its fields: a header in JSON, the members of a zip file, opcodes of a pickle, the body of an OCDBT node. What the
container computes from them (lengths, checksums) is made right again then, so that readers get to see the field.
"""

import io
import json
import pickletools
import random
import re
import struct
import zipfile
from dataclasses import dataclass, field

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 12, 16, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -1, -2]
WORDS = ["F32", "F16", "BF16", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "C64", "BOOL", "I64", "U8", "f32", "<f4", ">f4", "bfloat16", "float32", "|b1", "|u1", "<i4", "C", "F", ".", "/",
         "", "a", "\\u0061", "é", "NaN", "0", "__metadata__", "format", "zstd", "gzip", "blosc", "crc32c", "bytes", "little", "big", "transpose", "sharding_indexed", "start", "end"]


@dataclass
class Seed:
    name: str
    format: str
    readers: tuple
    files: dict  # path: bytes
    entry: str = "."  # what griffin opens
    about: dict = field(default_factory=dict)
    fields: tuple = ()  # functions (rng, files) that change fields


def change_bytes(rng, data):
    """Changes bytes in one to three places, and says how."""
    data, what = bytearray(data), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        n = len(data)
        if n == 0:
            break
        edge = min(n, 400)
        at = rng.choice([rng.randrange(n), rng.randrange(edge), n - 1 - rng.randrange(edge)])
        size = min(rng.choice([1, 1, 2, 4, 8, 16, 64, 300]), n - at)
        kind = rng.choice(["bit", "byte", "number", "delete", "repeat", "insert", "cut", "splice", "increment"])
        if kind == "bit":
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            data[at] = rng.choice([0, 1, 0x7f, 0x80, 0xff, 0x20, rng.randrange(256)])
        elif kind == "increment":
            data[at] = (data[at] + rng.choice([-1, 1])) % 256
        elif kind == "number":
            width = rng.choice([2, 4, 8])
            data[at:at + width] = (rng.choice(NUMBERS) % 2 ** (8 * width)).to_bytes(width, rng.choice(["little", "big"]))
        elif kind == "delete":
            del data[at:at + size]
        elif kind == "repeat":
            data[at:at] = data[at:at + size]
        elif kind == "insert":
            data[at:at] = rng.randbytes(size)
        elif kind == "cut":
            del data[at:]
        else:
            other = rng.randrange(n)
            data[at:at + size] = data[other:other + size]
        what.append(f"{kind} at {at}")
    return bytes(data), ", ".join(what)


def change_json(rng, text):
    """Changes tokens of a JSON text."""
    token = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+|true|false|null|[\[\]{},:]')
    what = []
    for _ in range(rng.choice([1, 1, 2])):
        tokens = list(token.finditer(text))
        if not tokens:
            break
        t = rng.choice(tokens)
        old = t.group()
        kind = rng.choice(["replace", "replace", "replace", "drop", "twice", "swap"])
        if kind == "swap":
            new = rng.choice(tokens).group()
        elif kind == "drop":
            new = ""
        elif kind == "twice":
            new = old + rng.choice(["", ",", " "]) + old
        elif old[0] == '"':
            new = rng.choice(['"%s"' % rng.choice(WORDS), old[:-1] + 'x"', "1", "null", "[]", "{}"])
        elif old[0] in "-0123456789":
            new = rng.choice([str(rng.choice(NUMBERS)), str(int(old) + rng.choice([-1, 1])), "1.0", "1e0", "-0", "01", '"1"', "null", "[1]", str(2**70)])
        else:
            new = rng.choice([",", ":", "[", "]", "{", "}", "null", "true", "false", "[]", " ", "\t", "\x00"])
        text = text[:t.start()] + new + text[t.end():]
        what.append(f"{old[:30]} to {new[:30]}")
    return text, ", ".join(what)


def safetensors_header(rng, files):
    [(path, data)] = files.items()
    n = int.from_bytes(data[:8], "little")
    text, what = change_json(rng, data[8:8 + n].decode().rstrip() if rng.random() < 0.9 else data[8:8 + n].decode())
    header = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.9:
        header += b" " * (-len(header) % 8)
    return {path: struct.pack("<Q", len(header)) + header + data[8 + n:]}, what


def document(rng, files):
    """Changes a JSON document of zarr."""
    path = rng.choice([p for p in sorted(files) if p.endswith((".zarray", "zarr.json"))])
    text, what = change_json(rng, files[path].decode())
    return files | {path: text.encode("utf-8", "surrogatepass")}, f"{path}: {what}"


def missing_file(rng, files):
    path = rng.choice([p for p in sorted(files) if p != "_METADATA"])
    return {p: c for p, c in files.items() if p != path}, f"without {path}"


def change_pickle(rng, data):
    """Changes arguments of opcodes, or opcodes."""
    try:
        ops = list(pickletools.genops(data))
    except Exception:
        return change_bytes(rng, data)
    what = []
    starts = [at for _, _, at in ops] + [len(data)]
    i = rng.randrange(len(ops))
    op, arg, at = ops[i]
    old = data[at:starts[i + 1]]
    kind = rng.choice(["argument", "argument", "argument", "drop", "twice", "other", "bytes"])
    text = lambda s: b"X" + struct.pack("<I", len(s.encode("utf-8", "surrogatepass"))) + s.encode("utf-8", "surrogatepass")
    if kind == "argument" and isinstance(arg, bool) or kind == "bytes":
        new, _ = change_bytes(rng, old)
    elif kind == "argument" and isinstance(arg, int) and op.name.startswith(("BININT", "LONG")):
        n = rng.choice([*NUMBERS, arg + 1, arg - 1, arg + 4, arg * 2])
        new = b"\x8a\x0a" + n.to_bytes(10, "little", signed=True)
    elif kind == "argument" and isinstance(arg, str) and op.name == "GLOBAL":
        other = rng.choice(["torch HalfStorage", "torch BFloat16Storage", "torch LongStorage", "torch DoubleStorage", "torch ByteStorage", "torch BoolStorage", "torch ComplexFloatStorage",
                            "torch.storage UntypedStorage", "torch._utils _rebuild_tensor", "torch._utils _rebuild_parameter", "torch Size", "collections OrderedDict", "torch nothing"])
        new = b"c" + other.replace(" ", "\n").encode() + b"\n"
    elif kind == "argument" and isinstance(arg, str):
        new = text(rng.choice([arg + "x", arg[:-1], "0", "1", "2", "", "cpu", "cuda:0", "meta", "storage", "w", "a.b", "../0", "é"]))
    elif kind == "drop":
        new = b""
    elif kind == "twice":
        new = old * 2
    else:
        new = rng.choice([b"N", b"\x88", b"\x89", b")", b"]", b"}", b"K\x02", b"0", b"2", b"(", b"t", b"R", b"s", b"\x85", b"\x86", b"\x87", b".", b"e", b"u", b"b"])
    what.append(f"{op.name} {str(arg)[:30]} to {new[:30]}")
    return data[:at] + new + data[starts[i + 1]:], ", ".join(what)


def zip_member(rng, files):
    """Writes a zip file again with a changed member and the right checksums, or with other members."""
    [(path, data)] = files.items()
    old = zipfile.ZipFile(io.BytesIO(data))
    members = [(i.filename, old.read(i), i.compress_type) for i in old.infolist()]
    pickle = next(k for k, m in enumerate(members) if m[0].endswith("/data.pkl"))
    k = pickle if rng.random() < 0.7 else rng.randrange(len(members))
    name, content, method = members[k]
    kind = rng.choice(["content"] * 8 + ["drop", "twice", "rename", "method"]) if k != pickle else rng.choice(["content"] * 20 + ["twice", "method"])
    if kind == "content":
        content, what = change_pickle(rng, content) if k == pickle else change_bytes(rng, content)
        members[k] = name, content, method
    elif kind == "drop":
        del members[k]
        what = "dropped"
    elif kind == "twice":
        members.append((name, change_bytes(rng, content)[0], method))
        what = "twice"
    elif kind == "rename":
        members[k] = rng.choice([name + "x", "x/" + name, name.upper(), name.replace("/", "\\"), "other/" + name.split("/", 1)[-1]]), content, method
        what = "renamed " + members[k][0]
    else:
        members[k] = name, content, zipfile.ZIP_DEFLATED if method == zipfile.ZIP_STORED else zipfile.ZIP_STORED
        what = "another method"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, content, method in members:
            z.writestr(name, content, method)
    return {path: out.getvalue()}, f"{members[min(k, len(members) - 1)][0]}: {what}"


def zip_structure(rng, files):
    """Changes bytes of the central directory, the end records or a local header."""
    [(path, data)] = files.items()
    first = data.find(b"PK\x01\x02")
    starts = [m.start() for m in re.finditer(b"PK\x03\x04", data[:first])]
    data = bytearray(data)
    at = rng.choice([rng.choice(starts) + rng.randrange(46), rng.randrange(first, len(data)), rng.randrange(first, len(data))])
    width = rng.choice([1, 1, 2, 4])
    data[at:at + width] = (rng.choice([*NUMBERS, data[at] + 1, data[at] - 1, data[at] ^ 8]) % 2 ** (8 * width)).to_bytes(width, "little")
    return {path: bytes(data)}, f"{width} bytes of the zip structure at {at}"


def pickle_of_legacy(rng, files):
    [(path, data)] = files.items()
    data, what = change_pickle_at(rng, data)
    return {path: data}, what


def change_pickle_at(rng, data):
    """Changes one of the pickles that a legacy file of torch begins with."""
    ends, at = [0], 0
    for _ in range(5):
        stream = io.BytesIO(data)
        stream.seek(at)
        for _ in pickletools.genops(stream):
            pass
        at = stream.tell()
        ends.append(at)
    k = rng.choice([0, 1, 2, 3, 3, 3, 3, 4])
    new, what = change_pickle(rng, data[ends[k]:ends[k + 1]])
    return data[:ends[k]] + new + data[ends[k + 1]:], f"pickle {k}: {what}"


def crc32c(data):
    crc = 0xffffffff
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return (crc ^ 0xffffffff).to_bytes(4, "little")


def ocdbt_body(rng, files):
    """Changes a manifest or node of OCDBT and makes its length and its checksum right."""
    path = rng.choice([p for p in sorted(files) if files[p][:2] == b"\x0c\xdb"])
    body, what = change_bytes(rng, files[path][12:-4])
    if rng.random() < 0.2:  # version and compression
        body = bytes([rng.choice([0, 1, 2])]) + body[1:]
    blob = files[path][:4] + struct.pack("<Q", len(body) + 16) + body
    return files | {path: blob + crc32c(blob)}, f"{path}: {what}"


def mutate(rng, seed):
    """Returns changed files of a seed, and what was changed."""
    if seed.fields and rng.random() < 0.6:
        try:
            files, what = rng.choice(seed.fields)(rng, seed.files)
            return files, what
        except (UnicodeError, ValueError, OverflowError):
            pass
    path = rng.choice([p for p in sorted(seed.files) if p != "_METADATA"])
    data, what = change_bytes(rng, seed.files[path])
    return seed.files | {path: data}, f"{path}: {what}"


def rng_of(seed, number):
    return random.Random(f"{seed}-{number}")
