"""Makes the fixtures that ../README.md describes: python.sh current fixtures.py

The weights are the same every time. Orbax gives its data files random names, so that its directories change.
"""

import os
import shutil
import sys
import tempfile

import family
import oracle

# directory under testdata/: case, dtype, seed, parts that are kept
FIXTURES = {
    "tiny-griffin": ("tiny-griffin", "bfloat16", 1, ["original/orbax-ocdbt", "original/torch.pt", "hf", "golden"]),
    "odd-griffin": ("odd-griffin", "float32", 2, ["original/orbax-zarr3", "original/torch.pt", "hf", "golden"]),
    "micro-griffin": ("micro-griffin", "float16", 3, ["original", "hf", "golden"]),
    "micro-hawk": ("micro-hawk", "float32", 4, ["original/orbax-ocdbt", "original/torch.pt", "golden"]),
}


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


if __name__ == "__main__":
    main()
