"""Compares `griffin golden` with the original implementations: python.sh current capture_check.py [--seed N]

For cases from a random seed, it checks that
  - the scripts that `griffin golden --capture-script` prints record the same numbers as golden.py, and the digest that
    griffin computes of the weights;
  - the results of griffin agree with the recordings: in float32 within 2e-5 of the largest value of each tensor.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import family
import griffin
import oracle

CASES = (("tiny-griffin", "float32"), ("odd-griffin", "bfloat16"), ("micro-hawk", "float32"))
TOLERANCES = {"float32": 2e-5, "bfloat16": 4e-2}  # relative to the largest value of a tensor

# recording: script, checkpoint, semantics
SOURCES = {"jax": ("jax", "original/orbax-ocdbt", "original"), "torch": ("torch", "original/torch.pt", "original"),
           "hf5": ("transformers", "hf", "transformers5"), "hf4": ("transformers", "hf", "transformers4")}


def load(path):
    """Tensors and metadata of a recording."""
    from safetensors import safe_open
    with safe_open(path, "np") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata()


def worst(want, got):
    """The largest difference in a tensor of both, relative to the largest value of that tensor, and the tensor's name."""
    out = (0.0, "")
    for name in want.keys() & got.keys():
        a, b = want[name].astype(np.float64), got[name].astype(np.float64)
        out = max(out, (float("inf") if a.shape != b.shape else np.abs(a - b).max() / max(np.abs(a).max(), 1e-30), name))
    return out


def capture(case_dir, name, settings, decode_start):
    """Runs a capture script and returns its recording."""
    kind, checkpoint, _ = SOURCES[name]
    script, out = f"{case_dir}/capture_{kind}.py", f"{case_dir}/captured-{name}.safetensors"
    if os.path.exists(out):  # of an earlier run with --keep
        os.remove(out)
    with open(script, "w") as f:
        f.write(griffin.run("golden", "--capture-script", kind)[0])
    argv = [sys.executable, script, f"{case_dir}/{checkpoint}", "--tokens", f"{case_dir}/golden/jax.safetensors", "--out", out]
    if kind != "transformers":
        argv += [*settings, "--decode-from", str(decode_start)]
    if kind == "jax":
        argv += ["--scan", "ASSOCIATIVE_NATIVE"]
    env = dict(os.environ)
    if name == "hf4":
        env["PYTHONPATH"] = os.environ["GRIFFIN_INTEROP_HOME"] + "/transformers4" + os.pathsep + env.get("PYTHONPATH", "")
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return load(out)


def check_capture(score, case_dir, case, name):
    settings = family.settings_flags(case["config"])
    recorded, meta = load(f"{case_dir}/golden/{name}.safetensors")
    start = load(f"{case_dir}/golden/jax.safetensors")[1]["decode_start"]
    captured, capture_meta = capture(case_dir, name, settings, start)
    label = f"{case['name']} {case['dtype']} {name}"
    difference, tensor = worst(recorded, captured)
    missing = recorded.keys() - captured.keys()
    score.check(f"{label}: captured", f"{tensor} differs by {difference:g}" if difference else f"missing {sorted(missing)}" if missing else "")
    score.check(f"{label}: metadata", griffin.differences(
        {k: meta[k] for k in ("implementation", "dtype")}, {k: capture_meta.get(k) for k in ("implementation", "dtype")}))

    _, checkpoint, semantics = SOURCES[name]
    out = f"{case_dir}/griffin-{name}.safetensors"
    flags = [] if name.startswith("hf") else settings
    arithmetic = "bfloat16" if case["dtype"] == "bfloat16" else "float32"
    result = json.loads(griffin.run("golden", "--json", "--digest", "sha256", *flags, "--semantics", semantics, "--arithmetic", arithmetic, "--decode-from", start,
                                  "--tokens", f"{case_dir}/golden/jax.safetensors", "--out", out, f"{case_dir}/{checkpoint}")[0])
    score.check(f"{label}: digest", griffin.differences(
        {"model_digest": capture_meta["model_digest"]}, {"model_digest": result["model_digest"]}))
    difference, tensor = worst(captured, load(out)[0])
    score.check(f"{label}: griffin computes", "" if difference <= TOLERANCES[case["dtype"]] else f"{tensor} differs by {difference:g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--keep", help="work in this directory and keep it")
    args = parser.parse_args()
    score = griffin.Score(f"capture --seed {args.seed}")
    print(f"capture: seed {args.seed}", flush=True)
    root = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="griffin-capture-")
    try:
        for name, dtype in CASES:
            case_dir = f"{root}/{name}"
            oracle.make_case(oracle.describe(name, family.CASES[name], args.seed, dtype), case_dir)
            case, _ = family.load_case(case_dir)
            for source in SOURCES:
                if os.path.exists(f"{case_dir}/golden/{source}.safetensors"):
                    score.attempt(f"{name} {dtype} {source}", check_capture, score, case_dir, case, source)
    finally:
        if not args.keep:
            shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
