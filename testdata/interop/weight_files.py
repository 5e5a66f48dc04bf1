"""Holds what griffin says of the names of weights against transformers: python.sh current weight_files.py

Writes the weights of a small model under names that transformers looks for and under others, and loads each directory with 5.23 and 4.57:
griffin verify --explain-runtime has to say of each version whether it loads the directory, and griffin verify has to fail those that they do
not load. Exits with status 1 if anything differs.
"""

import json
import os
import shutil
import tempfile

import griffin
from interop import with_transformers

SOURCE = f"{griffin.REPOSITORY}/testdata/tiny-griffin/hf"

# {name: (files, index or None)}: the weights are in equal parts in the files, or the whole in one
CASES = {
    "one": (["model.safetensors"], None),
    "index": (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], "model.safetensors.index.json"),
    "index of other names": (["a.safetensors", "b.safetensors"], "model.safetensors.index.json"),
    "other index": (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], "weights.safetensors.index.json"),
    "no index": (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], None),
    "one shard": (["model-00001-of-00001.safetensors"], None),
    "variant": (["model.fp16.safetensors"], None),
    "weights.safetensors": (["weights.safetensors"], None),
    "pytorch_model.safetensors": (["pytorch_model.safetensors"], None),
    "pytorch_model.bin": (["pytorch_model.bin"], None),
    "index of pytorch": (["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"], "pytorch_model.bin.index.json"),
    "model.pt": (["model.pt"], None),
    "model.bin": (["model.bin"], None),
    "pytorch_model.pt": (["pytorch_model.pt"], None),
}


def write(directory, files, index):
    import safetensors.torch
    import torch
    os.makedirs(directory)
    shutil.copy(f"{SOURCE}/config.json", directory)
    tensors = safetensors.torch.load_file(f"{SOURCE}/model.safetensors")
    place = {}
    for i, file in enumerate(files):
        part = {name: tensors[name] for name in sorted(tensors)[i::len(files)]}
        place.update(dict.fromkeys(part, file))
        if file.endswith(".safetensors"):
            safetensors.torch.save_file(part, f"{directory}/{file}", metadata={"format": "pt"})
        else:
            torch.save(part, f"{directory}/{file}")
    if index:
        with open(f"{directory}/{index}", "w") as f:
            json.dump({"metadata": {}, "weight_map": place}, f)


def problem_with(directory, loads):
    """Why what griffin says does not fit {runtime: whether it loads the directory}; "" if it does."""
    out, _ = griffin.run("verify", "--explain-runtime", "--json", directory)
    said = {r["runtime"]: r["loads"] for r in json.loads(out)["runtimes"]}
    wrong = {name: done for name, done in loads.items() if said[name] != done}
    if wrong:
        return f"in fact {wrong}, griffin says {said}"
    griffin.run("verify", SOURCE, directory, expect=0 if all(loads.values()) else 1)
    return ""


def main():
    score = griffin.Score("names of weights")
    root = tempfile.mkdtemp(prefix="griffin-names-")
    try:
        for name, (files, index) in CASES.items():
            write(f"{root}/{name}", files, index)
        with open(f"{root}/jobs.json", "w") as f:
            json.dump([dict(dir=f"{root}/{name}") for name in CASES], f)
        loads = {name: {} for name in CASES}
        for generation, done in with_transformers("departures_hf.py", f"{root}/jobs.json"):
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            if len(lines) != len(CASES):
                raise griffin.Failed(f"transformers {generation}: {done.stderr[-2000:]}")
            for name, line in zip(CASES, lines):
                loads[name]["transformers" + generation] = line["loads"]
        for name in CASES:
            score.attempt(name, lambda: problem_with(f"{root}/{name}", loads[name]))
        score.check("some are loaded, and some are not", "" if {True, False} == {v for done in loads.values() for v in done.values()} else str(loads))
    finally:
        shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
