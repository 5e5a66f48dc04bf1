"""Makes the fixtures that ../README.md describes: python.sh current fixtures.py

The weights are the same every time. Orbax gives its data files random names, so that its directories change.
"""

import json
import os
import shutil
import sys
import tempfile

import family
import oracle
from interop import with_transformers

# directory under testdata/: case, dtype, seed, parts that are kept
FIXTURES = {
    "tiny-griffin": ("tiny-griffin", "bfloat16", 1, ["original/orbax-ocdbt", "original/torch.pt", "hf", "golden"]),
    "odd-griffin": ("odd-griffin", "float32", 2, ["original/orbax-zarr3", "original/torch.pt", "hf", "golden"]),
    "micro-griffin": ("micro-griffin", "float16", 3, ["original", "hf", "golden"]),
    "micro-hawk": ("micro-hawk", "float32", 4, ["original/orbax-ocdbt", "original/torch.pt", "golden"]),
}


# What the original does not compute, in one model that both versions of transformers run.
VARIANT = dict(vocab_size=40, hidden_size=16, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
               lru_width=12, attention_window_size=6, conv1d_width=3, logits_soft_cap=5.0, rms_norm_eps=1e-3, hidden_activation="silu",
               attention_bias=True, block_types=["recurrent", "attention"], bos_token_id=2, eos_token_id=1, pad_token_id=0,
               rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5))


def make_variant(target):
    """A directory of transformers, and what both versions compute with it."""
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(f"{target}/golden")
    changed = dict(rope_theta=500.0, partial_rotary_factor=0.5)  # for 4.57
    job = dict(directory=target, config=VARIANT, seed=5, dtype="float32", changed=changed, dropped=[], form="", batch=2, length=18)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump([job], f)
        f.flush()
        for _, done in with_transformers("variants_hf.py", "fixture", f.name):
            if done.returncode:
                sys.exit(done.stderr)


def main():
    testdata = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for directory, (name, dtype, seed, keep) in FIXTURES.items():
        target = f"{testdata}/{directory}"
        with tempfile.TemporaryDirectory() as scratch:
            made = f"{scratch}/{directory}"
            oracle.make_case(oracle.describe(name, family.CASES[name], seed, dtype), made)
            shutil.rmtree(target, ignore_errors=True)
            os.makedirs(f"{target}/original")
            for item in ["case.json", *keep]:
                copy = shutil.copytree if os.path.isdir(f"{made}/{item}") else shutil.copy
                copy(f"{made}/{item}", f"{target}/{item}", **({"dirs_exist_ok": True} if copy is shutil.copytree else {}))
        print("made", target, file=sys.stderr)
    make_variant(f"{testdata}/micro-variant")


if __name__ == "__main__":
    main()
