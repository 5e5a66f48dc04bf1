"""Compares the .pt files that griffin writes with those of torch: python.sh current torch_write.py [--seed N]

Random weights are loaded into the original torch model, and torch saves its state_dict. From the same weights in every
original format, and from Hugging Face directories, `convert --to torch` must write the same file, byte for byte. The
torch version of 2024 must read it.

    torch_write.py save CASE_DIR FILE   saves the weights of a case with torch (a fixture of the tests of convert)
    torch_write.py digests FILE...      prints as JSON what torch reads from files, with and without mmap
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import expect
import family
import griffin
from griffin import differences

HERE = os.path.dirname(os.path.abspath(__file__))


def cases(seed):
    """(name, configuration, dtype)"""
    rng = np.random.default_rng(seed)
    for dtype in ("float32", "bfloat16", "float16"):
        yield f"tiny-griffin-{dtype}", family.CASES["tiny-griffin"], dtype
    yield "odd-griffin", family.CASES["odd-griffin"], "bfloat16"
    yield "micro-hawk", family.CASES["micro-hawk"], "float32"
    for i in range(3):
        yield f"random-{i}", family.random_config(rng), "bfloat16"


def save_model(config, params, dtype, path):
    """Saves the state_dict of the original torch model with these weights."""
    import golden
    import torch
    from recurrentgemma.torch import griffin as original
    model = original.Griffin(golden.griffin_config(config), gradient_checkpointing=False, dtype=getattr(torch, dtype))
    model.load_state_dict(family.torch_state(params))
    torch.save(dict(model.state_dict()), path)


def check_case(score, root, name, config, dtype, seed):
    """Returns the file that torch saved and the equal files that griffin wrote."""
    import originals
    out = f"{root}/{name}"
    params = family.make_params(config, seed, dtype)
    for directory in ("original", "want", "hf"):
        os.makedirs(f"{out}/{directory}")
    originals.write_current(params, f"{out}/original")
    want = f"{out}/want/model.pt"
    save_model(config, params, dtype, want)
    griffin.convert(f"{out}/original/torch.pt", f"{out}/hf/one", *family.settings_flags(config))
    griffin.convert(f"{out}/original/torch.pt", f"{out}/hf/shards", "--max-shard-size=20kB", *family.settings_flags(config))
    written = []
    for parent in ("original", "hf"):
        for kind in sorted(os.listdir(f"{out}/{parent}")):
            got = f"{out}/from-{kind}/model.pt"

            def convert():
                griffin.convert(f"{out}/{parent}/{kind}", got, "--to=torch")
                return "" if filecmp.cmp(want, got, shallow=False) else "differs from the file that torch saves"

            if score.attempt(f"{name} from {kind}", convert):
                written.append(got)
    return want, written


def digests(files):
    """{file: {"mmap" or "read": what torch reads}}"""
    import torch
    result = {}
    for path in files:
        result[path] = {how: {k: expect.digest_torch(v) for k, v in torch.load(path, weights_only=True, mmap=how == "mmap").items()}
                      for how in ("read", "mmap")}
    print(json.dumps(result))


def check_2024(score, pairs):
    done = subprocess.run([f"{HERE}/python.sh", "2024", "torch_write.py", "digests", *(written[-1] for _, written in pairs)],
                          check=True, stdout=subprocess.PIPE, text=True)
    results = json.loads(done.stdout)
    for original, written in pairs:
        want = expect.by_torch(original)
        for how, read in results[written[-1]].items():
            got = {k: (dtype, tuple(shape), digest) for k, (dtype, shape, digest) in read.items()}
            score.check(f"torch of 2024, {how}: {written[-1]}", differences(want, got))


def main():
    if sys.argv[1:2] == ["digests"]:
        return digests(sys.argv[2:])
    if sys.argv[1:2] == ["save"]:
        case, params = family.load_case(sys.argv[2])
        return save_model(case["config"], params, case["dtype"], sys.argv[3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    args = parser.parse_args()
    score = griffin.Score(f"torch_write --seed {args.seed}")
    root = tempfile.mkdtemp(prefix="griffin-torch-write-")
    try:
        pairs = [check_case(score, root, name, config, dtype, args.seed) for name, config, dtype in cases(args.seed)]
        check_2024(score, [(want, written) for want, written in pairs if written])
    finally:
        shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
