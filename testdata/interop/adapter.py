"""Compares adapters merged by griffin with PEFT: python.sh peft adapter.py

For each kind of adapter, PEFT makes a random one for a small model. griffin merges it into the model as saved by
transformers, by torch.save in the original layout, and by Orbax. For each result it checks

  weights   every element is W + scaling * B A, computed in float64 and rounded once; fully trained tensors are unchanged
  merged    merge_and_unload of PEFT in float32 differs by no more than the rounding of its sums:
            (rank + 3) * 2^-24 * (|W| + scaling * |B| |A|)
  logits    transformers on the result agrees with PEFT on base and adapter without a merge

In bfloat16, the merge of PEFT rounds the product and then the sum; the script prints how many of its elements are not
the nearest. Adapters that cannot be merged exactly must be refused.
"""

import copy
import json
import os
import re
import shutil
import tempfile
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import RecurrentGemmaForCausalLM

import family
import griffin
import oracle
import originals

Q = ["q_proj", "linear_x"]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "linear_x", "linear_y", "linear_out", "gate_proj", "up_proj", "down_proj"]

# Adapters for which merge_and_unload of PEFT is wrong: it adds the changes of embedding and head to the tensor they share.
SPLIT = {"embedding", "embedding-tied", "embedding-and-head", "head"}

ADAPTERS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=ALL),
    "all-linear": dict(r=2, target_modules="all-linear"),
    "pattern": dict(r=2, target_modules=r".*layers\.1\..*(gate|up)_proj"),
    "rank-1": dict(r=1, lora_alpha=3, target_modules=Q),
    "large-rank": dict(r=40, lora_alpha=1, target_modules=Q),
    "rslora": dict(r=6, lora_alpha=5, use_rslora=True, target_modules=ALL),
    "patterns": dict(r=4, lora_alpha=8, target_modules=ALL, rank_pattern={"q_proj": 3, r"layers\.[0-1]\..*\.up_proj": 7, "model.layers.0.mlp_block.down_proj": 1},
                     alpha_pattern={"layers.0.temporal_block.linear_x": 1, "^model.layers.1.*": 32}),
    "layers": dict(r=3, target_modules=ALL, layers_to_transform=[1], layers_pattern="layers"),
    "bias-all": dict(r=2, target_modules=Q, bias="all"),
    "bias-lora": dict(r=2, target_modules=Q + ["o_proj"], bias="lora_only"),
    "lora-bias": dict(r=2, lora_alpha=7, target_modules=["o_proj", "up_proj", "linear_y"], lora_bias=True),
    "modules": dict(r=2, target_modules=Q, modules_to_save=["final_norm", "conv_1d", "rg_lru", "down_proj", "temporal_pre_norm"]),
    "dora": dict(r=3, target_modules=ALL, use_dora=True),
    "tokens": dict(r=2, target_modules=Q, trainable_token_indices=[7, 3, 39]),
    "embedding": dict(r=3, target_modules=["embed_tokens", *Q]),
    "embedding-tied": dict(r=3, target_modules=["embed_tokens"], ensure_weight_tying=True),
    "embedding-and-head": dict(r=3, target_modules=["embed_tokens", "lm_head"]),
    "head": dict(r=2, target_modules=["lm_head"]),
    "module-embedding": dict(r=2, target_modules=Q, modules_to_save=["embed_tokens"]),
    "module-head": dict(r=2, target_modules=Q, modules_to_save=["lm_head"]),
    "modules-tied": dict(r=2, target_modules=Q, modules_to_save=["embed_tokens", "lm_head"], ensure_weight_tying=True),
}

# The facts that the error has to name.
REFUSED = {
    "parameters": (dict(r=2, target_modules=[], target_parameters=["rg_lru.input_gate_weight"]), ("target_parameters",)),
    "replication": (dict(r=2, target_modules=Q, layer_replication=[[0, 2], [1, 2]]), ("layer_replication",)),
    "alora": (dict(r=2, target_modules=Q, alora_invocation_tokens=[1, 2]), ("alora_invocation_tokens",)),
    "pissa": (dict(r=2, target_modules=Q, init_lora_weights="pissa"), ("init_lora_weights", "pissa")),
    "convolution": (dict(r=24, target_modules=["conv_1d"]), ("conv_1d",)),
}


def load(path, dtype=torch.float32):
    return RecurrentGemmaForCausalLM.from_pretrained(path, dtype=dtype)


def make_base(scratch, dtype, seed):
    config = family.CASES["micro-griffin"]
    params = family.make_params(config, seed, dtype)
    oracle.write_hf(oracle.describe("micro-griffin", config, seed, dtype), params, scratch)
    os.makedirs(f"{scratch}/original")
    originals.write_current(params, f"{scratch}/original")
    return {"hf": f"{scratch}/hf", "torch": f"{scratch}/original/torch.pt", "orbax": f"{scratch}/original/orbax-ocdbt"}


def make_adapter(base, out, seed, options):
    """Saves an adapter whose numbers are all random, including those that PEFT initializes with 0."""
    torch.manual_seed(seed)
    adapted = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **{"init_lora_weights": False, **options}))
    with torch.no_grad():
        for p in adapted.parameters():
            if p.requires_grad:
                p += 0.05 * torch.randn_like(p)
    adapted.save_pretrained(out)


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(40)[None], use_cache=False).logits.float()


def expected(base, directory):
    """{name: float64 tensor} of the merged model and {name: error bound of a merge in float32}, from the adapter files."""
    with open(f"{directory}/adapter_config.json") as f:
        config = json.load(f)
    weights = {k: v.double() for k, v in load_file(f"{base}/model.safetensors").items()}
    bounds = {k: torch.zeros_like(v) for k, v in weights.items()}
    adapter = {k.removeprefix("base_model.model."): v.double() for k, v in load_file(f"{directory}/adapter_model.safetensors").items()}
    embedding = weights["model.embed_tokens.weight"]
    if any("lm_head" in k for k in adapter) or any(k.startswith("model.embed_tokens") and "token_adapter" not in k for k in adapter):
        weights["lm_head.weight"], bounds["lm_head.weight"] = embedding.clone(), torch.zeros_like(embedding)
    for key, value in adapter.items():  # fully trained
        if not re.search(r"lora_|token_adapter", key):
            weights[key.replace(".base_layer", "")] = value
    for key, value in adapter.items():
        module = re.sub(r"\.(lora_|token_adapter).*", "", key)
        if module == key:
            continue

        def pattern(patterns, default):
            return next((v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", module)), default)
        rank = pattern(config["rank_pattern"], config["r"])
        scale = pattern(config["alpha_pattern"], config["lora_alpha"]) / (rank**0.5 if config["use_rslora"] else rank)
        name = module + ".weight"
        if key.endswith("trainable_tokens_delta"):
            weights[name][config["trainable_token_indices"]] = value
        elif key.endswith("lora_B.bias"):
            weights[module + ".bias"] += scale * value
            bounds[module + ".bias"] = 4 * 2**-24 * (weights[module + ".bias"].abs() + scale * value.abs())
        elif re.search(r"lora_A\.weight|lora_embedding_A", key):
            a = value
            b = adapter[key.replace("_A", "_B")]
            left, right = (a.T, b.T) if "embedding" in key else (b, a)
            bounds[name] = (rank + 3) * 2**-24 * (weights[name].abs() + scale * left.abs() @ right.abs())
            weights[name] = weights[name] + scale * (left @ right)
            magnitude = adapter.get(f"{module}.lora_magnitude_vector")
            if magnitude is not None:
                factor = (magnitude / weights[name].norm(dim=1))[:, None]
                weights[name], bounds[name] = weights[name] * factor, 4 * bounds[name] * factor + 2**-22 * (weights[name] * factor).abs()
    if "lm_head.weight" in weights and torch.equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"]):
        del weights["lm_head.weight"]
    return weights, bounds


def nearest(x, dtype):
    """float64 rounded once, ties to even. (torch's own conversion rounds twice, through float32.)"""
    digits, least = {torch.float32: (23, -126), torch.bfloat16: (7, -126), torch.float16: (10, -14)}[dtype]
    unit = torch.ldexp(torch.ones_like(x), (torch.frexp(x).exponent - 1).clamp(min=least) - digits)
    return ((x / unit).round() * unit).to(dtype)


def compare(name, bases, dtype, adapter, scratch):
    """The problems of one adapter on one model, and the number of elements of PEFT's merge that are not the nearest."""
    weights, bounds = expected(bases["hf"], adapter)
    problems, results = [], {}
    for layout, source in bases.items():
        out = f"{scratch}/{name}-{layout}"
        flags = [] if layout == "hf" else family.settings_flags(family.CASES["micro-griffin"])
        griffin.convert(source, out, "--adapter", adapter, "--verify", *flags)
        results[layout] = got = load_file(f"{out}/model.safetensors")
        wrong = griffin.differences(dict.fromkeys(weights), dict.fromkeys(got))
        for k in weights.keys() & got.keys():
            count = int((nearest(weights[k], got[k].dtype) != got[k]).sum())
            wrong += f" {k}: {count} elements" if count else ""
        if wrong:
            problems.append(f"{layout}: {wrong}")
    base = load(bases["hf"], getattr(torch, dtype))
    adapted = PeftModel.from_pretrained(base, adapter, autocast_adapter_dtype=False)
    if dtype == "float32":
        # In float64, so that the order in which a processor adds has no part in it.
        difference = float((logits(load(f"{scratch}/{name}-hf").double()) - logits(copy.deepcopy(adapted).double())).abs().max())
        if not difference < 1e-4:
            problems.append(f"logits differ by {difference:g} from those of PEFT without a merge")
    merged = {k.replace("base_layer.", ""): v for k, v in adapted.merge_and_unload().state_dict().items()}
    doubled = 0
    for k, v in results["hf"].items():
        if name in SPLIT and k in ("lm_head.weight", "model.embed_tokens.weight"):
            continue
        if dtype == "float32":
            over = int(((v.double() - merged[k].double()).abs() > bounds[k] + 2**-24 * weights[k].abs()).sum())
            if over:
                problems.append(f"{k}: {over} elements differ from PEFT's merge by more than its rounding")
        else:
            doubled += int((v != merged[k].to(v.dtype)).sum())
    return "; ".join(problems), doubled


def pickled(bases, adapter):
    """An adapter in the pickle of older PEFT versions gives the same result."""
    older = adapter + "-bin"
    shutil.copytree(adapter, older)
    torch.save(load_file(f"{older}/adapter_model.safetensors"), f"{older}/adapter_model.bin")
    os.remove(f"{older}/adapter_model.safetensors")
    for path in (adapter, older):
        griffin.convert(bases["hf"], path + "-merged", "--adapter", path)
    return griffin.differences(griffin.inspect(adapter + "-merged"), griffin.inspect(older + "-merged"))


def resized(scratch, score):
    """An adapter for a model with added tokens, which holds the embedding and the head."""
    bases = make_base(f"{scratch}/resized", "float32", 11)
    torch.manual_seed(11)
    model = load(bases["hf"])
    model.resize_token_embeddings(44)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=Q, modules_to_save=["embed_tokens", "lm_head"],
                                               init_lora_weights=False))
    adapted.save_pretrained(f"{scratch}/resized/adapter")
    griffin.convert(bases["hf"], f"{scratch}/resized/out", "--adapter", f"{scratch}/resized/adapter")
    difference = float((logits(load(f"{scratch}/resized/out")) - logits(adapted)).abs().max())
    score.check("vocabulary of another size", "" if difference < 1e-4 else f"logits differ by {difference:g}")


def main():
    warnings.simplefilter("ignore")
    score = griffin.Score("adapters")
    with tempfile.TemporaryDirectory() as scratch:
        for dtype in ("float32", "bfloat16", "float16"):
            bases = make_base(f"{scratch}/{dtype}", dtype, 7)
            for seed, (name, options) in enumerate(ADAPTERS.items()):
                adapter = f"{scratch}/{dtype}/{name}"
                make_adapter(bases["hf"], adapter, seed, options)
                try:
                    problem, doubled = compare(name, bases, dtype, adapter, scratch + "/" + dtype + "/out")
                except (griffin.Failed, RuntimeError, KeyError) as e:
                    problem, doubled = f"{type(e).__name__}: {e}", 0
                score.check(f"{dtype} {name}", problem)
                if doubled and name == "plain":
                    print(f"{dtype}: in PEFT's merge, {doubled} elements are not the nearest")
                shutil.rmtree(scratch + "/" + dtype + "/out", ignore_errors=True)
        bases = make_base(f"{scratch}/others", "float32", 9)
        adapter = f"{scratch}/others/plain"
        make_adapter(bases["hf"], adapter, 1, ADAPTERS["plain"])
        score.attempt("adapter_model.bin", pickled, bases, adapter)
        for name, (options, facts) in REFUSED.items():
            make_adapter(bases["hf"], f"{scratch}/others/{name}", 1, options)
            _, err = griffin.run("convert", "--adapter", f"{scratch}/others/{name}", bases["hf"], f"{scratch}/others/out", expect=3)
            score.check(f"{name} is refused", "" if all(fact in err for fact in facts) else err)
        resized(scratch, score)
    score.finish()


if __name__ == "__main__":
    main()
