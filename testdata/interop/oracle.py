"""Makes test cases with the original libraries, and compares converted checkpoints with them.

  oracle.sh make --case tiny-griffin [--seed 0] [--dtype float32] --out DIR
  oracle.sh check-hf DIR CONVERTED     checks a Hugging Face directory converted from DIR/original/*
  oracle.sh check-torch DIR MODEL.pt   checks an original-layout .pt converted from DIR/hf/*
  oracle.sh check-orbax DIR CKPT       checks an original-layout Orbax directory converted from DIR/hf/*
  oracle.sh big --preset 2b --formats torch,orbax-ocdbt --out DIR     a bfloat16 model of a published size, for benchmarks

A case directory holds
  case.json                      configuration, seed, versions of the libraries that made it
  original/orbax-ocdbt           Orbax, OCDBT (the form of the published Flax checkpoints)
  original/orbax-zarr            Orbax, one zarr v2 directory per parameter
  original/orbax-zarr3           Orbax, OCDBT holding zarr v3
  original/orbax-manager         root of a CheckpointManager with one step
  original/flax-msgpack          a file `checkpoint` of flax.serialization
  original/torch.pt              torch.save, zip container
  original/torch-legacy.pt       torch.save, container from before PyTorch 1.6
  hf/, hf-sharded/               the same weights, saved by transformers
  golden/{jax,torch,hf4,hf5}.safetensors     the results of each implementation (see golden.py)
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np

import family
import golden
import originals

SHARD_SIZE = "64KB"  # of hf-sharded


def write_hf(case, params, out):
    import torch
    from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM
    model = RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**family.hf_config(case["config"], case["dtype"])))
    model = model.to(getattr(torch, case["dtype"]))
    missing, unexpected = model.load_state_dict(family.hf_state(params), strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    model.save_pretrained(f"{out}/hf")
    model.save_pretrained(f"{out}/hf-sharded", max_shard_size=SHARD_SIZE)


def describe(name, config, seed, dtype, batch=2, length=0):
    return dict(name=name, config=config, seed=seed, dtype=dtype, batch=batch,
                length=length or 3 * config["attention_window_size"],
                versions={p: version(p) for p in ("jax", "flax", "orbax-checkpoint", "torch", "transformers")})


def make_case(case, out, recordings=("jax", "torch", "hf5", "hf4")):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(f"{out}/original")
    os.makedirs(f"{out}/golden")
    with open(f"{out}/case.json", "w") as f:
        json.dump(case, f, indent=1)
        f.write("\n")
    params = family.make_params(case["config"], case["seed"], case["dtype"])
    originals.write_current(params, f"{out}/original")
    if "jax" in recordings:
        golden.run_jax(case, params, f"{out}/golden/jax.safetensors")
    if "torch" in recordings:
        golden.run_torch(case, params, f"{out}/golden/torch.safetensors")
    write_hf(case, params, out)
    if family.has_plain_hf_form(case["config"]):
        if "hf5" in recordings:
            golden.run_hf(case, f"{out}/hf", f"{out}/golden/hf5.safetensors")
        if "hf4" in recordings:
            with_transformers4("run-hf", out, f"{out}/hf", f"{out}/golden/hf4.safetensors")


def with_transformers4(*argv):
    """Runs this script with transformers 4.57 ahead of the installed version on the path."""
    path = os.environ["GRIFFIN_INTEROP_HOME"] + "/transformers4"
    env = dict(os.environ, PYTHONPATH=path + os.pathsep + os.environ.get("PYTHONPATH", ""))
    subprocess.run([sys.executable, os.path.abspath(__file__), *argv], check=True, env=env)


def make(args):
    if os.path.exists(args.case):
        with open(args.case) as f:
            config = json.load(f)
    else:
        config = family.CASES[args.case]
    name = os.path.splitext(os.path.basename(args.case))[0]
    make_case(describe(name, config, args.seed, args.dtype, args.batch, args.length), args.out)
    print("made", args.out)


def big(args):
    os.makedirs(args.out, exist_ok=True)
    scratch = f"{args.out}/scratch"
    flat = family.big_params(family.PRESETS[args.preset], scratch)
    total = sum(v.nbytes for v in flat.values())
    for kind in args.formats.split(","):
        target = os.path.abspath(f"{args.out}/{kind}" + (".pt" if kind == "torch" else ""))
        shutil.rmtree(target, ignore_errors=True)
        originals.write_big(flat, kind, target)
        print(f"{target}: {total / 1e9:.2f} GB of parameters")
    os.remove(scratch)


def same(want, got, label):
    """Exits with an error unless both have the same names, shapes, dtypes and bytes."""
    import torch
    bad = [f"missing {k}" for k in want.keys() - got.keys()] + [f"extra {k}" for k in got.keys() - want.keys()]
    for k in want.keys() & got.keys():
        a, b = want[k], got[k]
        if a.shape != b.shape or a.dtype != b.dtype:
            bad.append(f"{k}: want {a.dtype}{tuple(a.shape)}, got {b.dtype}{tuple(b.shape)}")
        elif not torch.equal(a.contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8)):
            bad.append(f"{k}: bytes differ")
    for line in bad[:20]:
        print("  ", line)
    if bad:
        sys.exit(f"{label}: {len(bad)} of {len(want)} tensors differ")
    print(f"{label}: {len(want)} tensors identical")


def check_hf(args):
    import transformers
    from safetensors.numpy import load_file
    case, params = family.load_case(args.dir)
    model, info = golden.load_hf(args.converted)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            sys.exit(f"transformers {transformers.__version__}: {kind}: {sorted(info[kind])[:10]}")
    name = "hf5" if transformers.__version__ >= "5" else "hf4"
    if family.has_plain_hf_form(case["config"]):
        got = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
        same(family.hf_state(params), got, f"transformers {transformers.__version__}")
        want, tolerance = load_file(f"{args.dir}/golden/{name}.safetensors"), 0.0
    else:  # transformers has another form of these weights: only its results can be compared
        want, tolerance = load_file(f"{args.dir}/golden/torch.safetensors"), 2e-4
    got = golden.trace_hf(case, model)
    worst = float(np.abs(want["logits"] - got["logits"]).max())
    print(f"transformers {transformers.__version__}: largest logit difference {worst:g}")
    if not worst <= tolerance:
        sys.exit("logits differ")
    if name == "hf5":
        with_transformers4("check-hf", args.dir, args.converted)


def check_torch(args):
    import torch
    _, params = family.load_case(args.dir)
    same(family.torch_state(params), torch.load(args.converted, weights_only=True), "torch.load")


def check_orbax(args):
    import orbax.checkpoint as ocp
    _, params = family.load_case(args.dir)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as loader:
        tree = loader.restore(os.path.abspath(args.converted))
    tree = tree.get("params", tree)

    def tensors(t):
        return {k: family.torch_tensor(np.asarray(v)) for k, v in family.flatten(t).items()}

    same(tensors(params), tensors(tree), "orbax restore")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("make")
    p.add_argument("--case", default="tiny-griffin",
                   help=f"{', '.join(family.CASES)} or a JSON file with the same fields")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--length", type=int, default=0, help="tokens of a row (default: three attention windows)")
    p.add_argument("--out", required=True)
    p.set_defaults(run=make)
    p = commands.add_parser("big")
    p.add_argument("--preset", default="2b", choices=family.PRESETS)
    p.add_argument("--formats", default="torch,orbax-ocdbt", help="torch, orbax-ocdbt, orbax-zarr or orbax-zarr3, separated by commas")
    p.add_argument("--out", required=True)
    p.set_defaults(run=big)
    for name, run in (("check-hf", check_hf), ("check-torch", check_torch), ("check-orbax", check_orbax)):
        p = commands.add_parser(name)
        p.add_argument("dir")
        p.add_argument("converted")
        p.set_defaults(run=run)
    p = commands.add_parser("run-hf", help="record the results of transformers (used by make)")
    for name in ("dir", "hf", "out"):
        p.add_argument(name)
    p.set_defaults(run=lambda args: golden.run_hf(family.load_case(args.dir)[0], args.hf, args.out))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
