"""Quantised copies written by the libraries, read by griffin: python.sh bitsandbytes quantized.py [--seed N] [--fixtures]

Random models are quantised by bitsandbytes, by transformers and by MLX. For each copy: griffin dequantises every matrix to the bits that
the library gives (diff says equal), names the scheme, measures the error as numpy does and finds that the scheme allows hardly less (MLX in 8
bits: a fifth less),
and a run of the copy is that of the dequantised model (perplexity: KL 0). Copies that transformers runs on a CPU have its logits, and it loads
those of which griffin says so.
--fixtures makes testdata/quantized again.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import family
import griffin
import oracle
import quantized_write

R, A = family.R, family.A
FIXTURE = dict(vocab_size=40, width=32, mlp_expanded_width=64, num_heads=2, lru_width=32, block_types=[R, A], attention_window_size=6,
               embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0)
HERE = os.path.dirname(os.path.abspath(__file__))


def mlx(base, out, group, bits):
    home = os.environ["GRIFFIN_INTEROP_HOME"]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([f"{HERE}/setup_mlx.sh", home], check=True, env=env)
    subprocess.run([f"{home}/mlx/bin/python", f"{HERE}/quantized_mlx.py", base, out, str(group), *map(str, bits)], check=True, env=env)
    return [f"mlx-{b}bit" for b in bits]


def make_base(config, seed, out):
    with tempfile.TemporaryDirectory() as made:
        oracle.write_hf(oracle.describe("quantized", config, seed, "bfloat16"), family.make_params(config, seed, "bfloat16"), made)
        os.makedirs(out)
        for name in ("config.json", "model.safetensors"):
            shutil.copy(f"{made}/hf/{name}", f"{out}/{name}")


def fixtures():
    target = f"{griffin.REPOSITORY}/testdata/quantized"
    with tempfile.TemporaryDirectory() as out:
        make_base(FIXTURE, 11, f"{out}/base")
        quantized_write.write(f"{out}/base", out, [16, 16])
        names = [*quantized_write.COPIES, *mlx(f"{out}/base", out, 32, [3, 4])]
        digests = {}
        for name in names:
            values = load_file(f"{out}/{name}.dequantised.safetensors")
            digests[name] = {k: hashlib.sha256(v.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest() for k, v in sorted(values.items())}
        shutil.rmtree(target, ignore_errors=True)
        for name in ["base", *names]:
            os.makedirs(f"{target}/{name}")
            for file in ("config.json", "model.safetensors"):
                shutil.copyfile(f"{out}/{name}/{file}", f"{target}/{name}/{file}")
        with open(f"{target}/dequantised.json", "w") as f:
            json.dump(digests, f, indent=1)
            f.write("\n")


def tensors_of(result):
    return {t["name"]: t for t in result["tensors"]}


def check_values(base, copy, dequantised, scheme):
    """Every matrix has the library's bits, and its error is what numpy finds."""
    values = load_file(copy + ".dequantised.safetensors")
    state = load_file(f"{copy}/model.safetensors")
    plain = {k: v for k, v in load_file(f"{base}/model.safetensors").items()}
    original = dict(plain)
    plain.update(values)
    if "mlx" in copy:  # the layout of its convolutions
        plain.update({k: state[k] for k in plain if k.endswith("conv_1d.weight")})
    os.makedirs(dequantised)
    save_file({k: v.contiguous() for k, v in plain.items()}, f"{dequantised}/model.safetensors", metadata={"format": "pt"})
    shutil.copy(f"{base}/config.json", dequantised)
    same = json.loads(griffin.run("diff", "--json", copy, dequantised, expect=1)[0])
    wrong = [n for n, t in tensors_of(same).items() if t["status"] != "equal"]
    if wrong:
        return f"not the values of the library: {wrong}"
    if scheme not in same["a"]["quantized"]:
        return f"scheme {same['a']['quantized']}, want {scheme}"
    judged = tensors_of(json.loads(griffin.run("diff", "--json", base, copy, expect=1)[0]))
    for name, value in values.items():
        want, got = original[name].double().numpy(), value.double().numpy()
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        j = judged[name].get("quantized")
        # MLX chooses codes before it rounds scales and biases to bfloat16, by 1 in 512: of 63 codes and a bias of 32 steps that is up to 0.13
        # steps, beside the 0.29 of rounding to the codes; of fewer codes little.
        most = 1.3 if "8 bits" in scheme else 1.1 if "6 bits" in scheme else 1.03
        if not j or abs(j["error"] - error) > 1e-6 * error or not 1 <= j["ratio"] < most or j["far"]:
            return f"{name}: {j}, and numpy has an error of {error}"
    return ""


def check_run(copy, dequantised, tokens):
    out = json.loads(griffin.run("perplexity", "--json", copy, dequantised, "--tokens", tokens)[0])
    c = out["comparison"]
    return "" if c["kl"] == 0 and c["top1_agreement"] == 1 else f"a run of the copy is not that of the dequantised model: {c}"


def check_verify(base, copy):
    v = json.loads(griffin.run("verify", "--json", base, copy, expect=1)[0])
    q = v["quantized"]
    bad = [f for f in q["findings"]] + [f for f in v["weights"]["findings"]]
    return "" if not bad and q["tensors"] and not v["same"] else f"findings {bad}, {len(q['tensors'])} quantised"


def check_loads(copy):
    """transformers 5 loads the copy if griffin says so."""
    explained = json.loads(griffin.run("verify", "--explain-runtime", "--json", copy)[0])["runtimes"]
    says = next(r for r in explained if r["runtime"] == "transformers5")
    try:
        AutoModelForCausalLM.from_pretrained(copy, device_map="cpu")
    except (ValueError, RuntimeError) as e:
        return "" if not says["loads"] else f"does not load: {e}"
    return "" if says["loads"] else f"loads, and griffin says {says['reasons']}"


def check_logits(copy, tokens, out):
    """The logits of transformers, which dequantises the copy as it loads it or afterwards."""
    model = AutoModelForCausalLM.from_pretrained(copy, device_map="cpu", attn_implementation="eager")
    if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
        model = model.dequantize()
    model = model.float()
    ids = torch.tensor([[int(t) for t in tokens.split(",")]])
    with torch.no_grad():
        want = model(ids, use_cache=False).logits[0].numpy()
    griffin.run("golden", copy, "--tokens", tokens, "--logits-only", "--out", out)
    got = load_file(out)["logits"].float().numpy().reshape(want.shape)
    worst = np.abs(want - got).max()
    # transformers rounds what it loads to bfloat16, as config.json states
    return "" if worst < 0.02 * np.abs(want).max() else f"logits differ by {worst} of {np.abs(want).max()}"


def random_config(rng, whole):
    """A random model whose rows can be quantised in groups of 32. If whole, its rows are whole blocks of 64."""
    unit = 64 if whole else 32
    heads = int(rng.choice([1, 2]))
    blocks = [R, A] if whole else [R] * int(rng.integers(1, 3)) + [A]
    return dict(vocab_size=int(rng.integers(20, 200)), width=unit * int(rng.integers(1, 3)), mlp_expanded_width=unit * int(rng.integers(1, 4)),
                num_heads=heads, lru_width=unit * int(rng.integers(1, 3)), block_types=blocks, attention_window_size=int(rng.integers(2, 12)),
                embeddings_scale_by_sqrt_dim=True, logits_soft_cap=float(rng.integers(5, 60)))


def check_model(score, rng, seed, whole, scratch):
    config = random_config(rng, whole)
    base = f"{scratch}/base"
    make_base(config, seed, base)
    block = [int(rng.choice([8, 16, 32])), int(rng.choice([16, 32]))]
    quantized_write.write(base, scratch, block)
    bits = [int(b) for b in rng.choice([2, 3, 4, 5, 6, 8], 3, replace=False)]
    schemes = {"bnb-int8": "bitsandbytes int8, per row", "bnb-nf4": "bitsandbytes nf4, blocks of 64", "bnb-fp4": "bitsandbytes fp4",
               "bnb-nf4-double": "double quantised", "fp8-blocks": f"fp8 e4m3, blocks of {block[0]} x {block[1]}", "fp8-tensor": "per tensor",
               "fp8-rows": "per row"}
    schemes.update({name: f"MLX affine, {b} bits, groups of 32" for name, b in zip(mlx(base, scratch, 32, bits), bits)})
    tokens = ",".join(str(int(t)) for t in rng.integers(2, config["vocab_size"], 9))
    for name, scheme in schemes.items():
        copy = f"{scratch}/{name}"
        label = f"seed {seed} {name} {config}"
        score.attempt(label, check_values, base, copy, f"{scratch}/{name}-plain", scheme)
        score.attempt(label, check_verify, base, copy)
        score.attempt(label, check_run, copy, f"{scratch}/{name}-plain", tokens)
        if name != "fp8-rows":  # for which compressed-tensors would have to be there
            score.attempt(label, check_loads, copy)
        if whole and name in ("bnb-nf4", "bnb-nf4-double", "bnb-int8", "fp8-blocks"):
            score.attempt(label, check_logits, copy, tokens, f"{scratch}/{name}.logits.safetensors")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--fixtures", action="store_true")
    args = parser.parse_args()
    if args.fixtures:
        return fixtures()
    print("seed", args.seed, flush=True)
    rng = np.random.default_rng(args.seed)
    score = griffin.Score("quantised copies")
    for i, whole in enumerate([True, False]):
        with tempfile.TemporaryDirectory() as scratch:
            check_model(score, rng, args.seed + i, whole, scratch)
    score.finish()


if __name__ == "__main__":
    main()
