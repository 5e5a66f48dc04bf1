"""The models of runtimes.py: Hugging Face directories that griffin writes, and some whose files were edited afterwards."""

import json
import os
import re

import numpy as np

import family
import griffin
import originals
from family import A, R

WINDOW = 6

# Part of the largest logit up to which logits count as the same, in float32. mlx-lm's norms have another epsilon.
TOLERANCE = {"transformers4": 2e-5, "transformers5": 2e-5, "candle": 2e-5, "mlx-lm": 4e-4}

ROUNDING = 0.15  # the same for bfloat16, as a part of the root mean square of the logits

BASE = dict(vocab_size=96, width=64, mlp_expanded_width=96, num_heads=4, lru_width=64, attention_window_size=WINDOW,
            embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0, block_types=[R, R, A, R])
ODD_ROOT = dict(BASE, width=40, num_heads=2, lru_width=40)  # sqrt(40) is no number of bfloat16
MATCHED = ["--match-runtime=transformers5"]
LONG = 400  # tokens, in which angles of the rotary embedding become large
OLDER = ["recurrent", "recurrent", "attention"]


# The functions of one number in ACT2FN of transformers 5.23 that are not GELU in its tanh form, and those that are.
ACTIVATIONS = ["gelu", "gelu_10", "gelu_python", "laplace", "leaky_relu", "linear", "mish", "relu", "relu2", "relu6", "sigmoid", "swish",
               "tanh", "hardswish", "sqrtsoftplus"]
TANH_GELU = ["gelu_fast", "gelu_new", "gelu_python_tanh", "gelu_accurate"]


class Model:
    """A directory with the configuration and the weights of the original; params is None if the original cannot run the model.

    claims are what griffin says of it, by runtime. only are the runtimes that run it, or None for all; of a model with loads_only it is only asked whether it loads. jobs are fields of
    its jobs (see the programs of the runtimes)."""

    def __init__(self, name, directory, config, params, dtype):
        self.name, self.dir, self.config, self.params, self.dtype = name, directory, config, params, dtype
        self.tolerance, self.semantics, self.only, self.loads_only, self.jobs, self.claims = {}, True, None, False, {}, None

    def runs_with(self, runtime):
        return self.only is None or runtime in self.only

    def on(self, *runtimes):
        """Restricts the model to runtimes."""
        self.only = runtimes
        return self

    def asked(self, **jobs):
        """Sets fields of the jobs."""
        self.jobs.update(jobs)
        return self


def written(root, name, seed, config=BASE, dtype="float32", flags=MATCHED):
    """A model in a directory that griffin writes."""
    params = family.make_params(config, seed, dtype)
    for block in params.values():
        for proj, factor in (("proj_q", 0.5), ("proj_v", 4)):  # so that each token that attention sees counts
            if "attention_block" in block:
                layer = block["attention_block"][proj]
                layer["kernel"] = (layer["kernel"].astype(np.float32) * factor).astype(layer["kernel"].dtype)
    os.makedirs(f"{root}/{name}.source")
    originals.torch_files(f"{root}/{name}.source", params)
    griffin.convert(f"{root}/{name}.source/torch.pt", f"{root}/{name}", *flags, *family.settings_flags(config))
    return Model(name, f"{root}/{name}", config, params, dtype)


def edited(model, **fields):
    """Sets fields of config.json, or removes them if they are None."""
    path = f"{model.dir}/config.json"
    with open(path) as f:
        config = json.load(f)
    for name, value in fields.items():
        config.pop(name, None) if value is None else config.update({name: value})
    with open(path, "w") as f:
        json.dump(config, f, indent=2)
    return model


def weights_edited(model, change):
    from safetensors.numpy import load_file, save_file
    path = f"{model.dir}/model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})
    return model


def own_head(model, seed):
    """Gives a model an output head of its own, which the original cannot have."""
    def change(weights):
        shape = weights["model.embed_tokens.weight"].shape
        weights["lm_head.weight"] = (np.random.default_rng(seed).standard_normal(shape) * 0.12).astype(np.float32)
    model.params = None
    return edited(weights_edited(model, change), tie_word_embeddings=False)


def copied_head(model):
    return weights_edited(model, lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].copy()}))


def beyond(model, change=None, **fields):
    """Edits a model into one that the original cannot compute."""
    model.params = None
    return edited(weights_edited(model, change) if change else model, **fields)


def drawn(weights, seed, names, shape):
    """Draws the weights whose names end so in another shape."""
    rng = np.random.default_rng(seed)
    for name in sorted(weights) + [n.replace("weight", "bias") for n in sorted(weights)]:
        if name.endswith(names):
            size = shape(weights[name.replace("bias", "weight")].shape)
            weights[name] = (rng.standard_normal(size) * 2 * size[-1] ** -0.5).astype(np.float32)


def wider_heads(weights, seed):
    """Draws the projections of attention for heads of 24 channels."""
    drawn(weights, seed, ("q_proj.weight",), lambda s: (96, s[1]))
    drawn(weights, seed, ("k_proj.weight", "v_proj.weight"), lambda s: (24, s[1]))
    drawn(weights, seed, ("o_proj.weight",), lambda s: (s[0], 96))


def torch_file(model):
    """Stores the weights as torch saves them."""
    import torch
    from safetensors.torch import load_file
    torch.save(load_file(f"{model.dir}/model.safetensors"), f"{model.dir}/pytorch_model.bin")
    os.remove(f"{model.dir}/model.safetensors")
    return model


# Names of tensors that programs write which wrap the model or a part of it, and others, by the name of the model.
RENAMED = {
    "compiled": lambda name: "_orig_mod." + name,
    "distributed": lambda name: "module." + name,
    "sharded-layers": lambda name: re.sub(r"^(model\.layers\.\d+\.)", r"\1_fsdp_wrapped_module.", name),
    "base-model": lambda name: name.removeprefix("model."),
    "root-twice": lambda name: "model." + name,
}


def renamed(model, rename):
    def change(weights):
        for name in list(weights):
            weights[rename(name)] = weights.pop(name)
    return weights_edited(model, change)


# Fields of config.json that have to agree with the shapes of the weights: griffin refuses a file without one, unless its default does.
SIZES = ["hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "vocab_size"]


def lacking(model, field):
    """A directory with the weights of a model and a config.json without a field. Of a size, mlx-lm and candle need each."""
    other = Model(f"without-{field}", f"{model.dir}.without-{field}", model.config, None, model.dtype)
    other.loads_only = True
    if field in SIZES:
        other.claims = {runtime: dict(runtime=runtime, loads=False, diverges_at=None, reasons=[], cases=[]) for runtime in ("mlx-lm", "candle")}
        other.on("mlx-lm", "candle")
    os.makedirs(other.dir)
    os.symlink(f"{model.dir}/model.safetensors", f"{other.dir}/model.safetensors")
    with open(f"{model.dir}/config.json") as f:
        config = json.load(f)
    del config[field]
    with open(f"{other.dir}/config.json", "w") as f:
        json.dump(config, f)
    return other


def make(root, seed, length):
    """Yields the models. length is the number of tokens that they will read."""
    def fresh(name, **options):
        nonlocal seed
        seed += 1
        return written(root, name, seed, **options)

    yield fresh("plain", flags=[])
    matched = fresh("matched").asked(half=True)
    yield matched
    with open(f"{matched.dir}/config.json") as f:
        for field in json.load(f):
            yield lacking(matched, field)
    yield fresh("wide-recurrence", config=dict(BASE, lru_width=88))
    yield own_head(fresh("own-head"), seed)
    yield copied_head(fresh("copied-head"))
    yield fresh("no-cap", config=dict(BASE, logits_soft_cap=0.0)).asked(half=True)
    yield fresh("hawk", config=dict(BASE, block_types=[R, R, R])).asked(half=True)
    yield fresh("bfloat16", config=dict(ODD_ROOT, block_types=[R, A]), dtype="bfloat16").asked(long=LONG)
    yield fresh("odd-root", config=ODD_ROOT)
    yield fresh("2b-in-small", config=dict(ODD_ROOT, block_types=([R, R, A] * 9)[:5]), dtype="bfloat16", flags=["--match-runtime=transformers5,mlx-lm"])
    attention = dict(BASE, block_types=[A, A])
    yield fresh("attention-only", config=attention, flags=[]).asked(at=True, long=LONG)
    yield edited(fresh("short-table", config=attention), max_seq_len=length).asked(at=True)
    yield fresh("attention-bfloat16", config=attention, dtype="bfloat16").on("candle").asked(long=LONG)
    yield fresh("attention-float16", config=attention, dtype="float16").on("candle", "mlx-lm").asked(long=LONG)
    yield weights_edited(fresh("by-head"), lambda w: w.update({"lm_head.weight": w.pop("model.embed_tokens.weight")}))
    yield weights_edited(fresh("extra-tensor"), lambda w: w.update({"score.weight": np.ones((1, 64), np.float32)}))
    yield torch_file(fresh("torch-file"))
    for name, rename in RENAMED.items():
        yield renamed(fresh(name), rename)
    no_scale = fresh("no-scale", config=dict(BASE, embeddings_scale_by_sqrt_dim=False))
    no_scale.tolerance["mlx-lm"] = 2e-2  # small embeddings, to which its epsilon is large
    yield no_scale
    yield edited(fresh("saved-by-5"), rope_theta=None, partial_rotary_factor=None)
    yield edited(fresh("older-pattern", config=dict(BASE, block_types=[R, R, A])), block_types=None, _block_types=OLDER)
    yield edited(fresh("two-patterns", config=dict(BASE, block_types=[R, R, A])), _block_types=OLDER)
    yield edited(fresh("attention-behind", config=dict(BASE, block_types=[R, R])), block_types=OLDER)
    yield edited(fresh("no-kv-heads", config=dict(BASE, width=16, num_heads=1, lru_width=16)), num_key_value_heads=None)
    no_flag = edited(fresh("no-scale-flag"), embeddings_scale_by_sqrt_dim=False)
    no_flag.semantics = False  # griffin's logits are those that mlx-lm has with the scale
    yield no_flag
    yield edited(fresh("integer-cap"), logits_soft_cap=30)
    # What the original does not compute.
    keys, queries = ("k_proj.weight", "v_proj.weight"), ("q_proj.bias", "k_proj.bias", "v_proj.bias")
    yield beyond(fresh("kv-heads"), lambda w: drawn(w, seed, keys, lambda s: (2 * s[0], s[1])), num_key_value_heads=2)
    yield beyond(fresh("biases"), lambda w: drawn(w, seed, queries, lambda s: s[:1]), attention_bias=True)
    yield beyond(fresh("taps"), lambda w: drawn(w, seed, ("conv_1d.weight",), lambda s: (s[0], 1, 3)), conv1d_width=3)
    yield beyond(fresh("silu"), hidden_activation="silu")
    yield beyond(fresh("quick-gelu"), hidden_activation="quick_gelu")
    for name in ACTIVATIONS + TANH_GELU:
        model = beyond(fresh(name, config=dict(BASE, block_types=[R, A])), hidden_activation=name)
        yield model.on("candle", "mlx-lm") if name in TANH_GELU else model.on("candle")
    yield beyond(fresh("wider-heads"), lambda w: wider_heads(w, seed), head_dim=24)
    for channels, width, heads in ((2, 64, 4), (5, 40, 2), (6, 48, 4), (7, 56, 7)):  # converted with fewer, wider heads
        config = dict(attention, width=width, lru_width=width, num_heads=heads)
        yield beyond(fresh(f"{channels}-channels", config=config), lambda w: drawn(w, seed, keys, lambda s: (channels, s[1])),
                     num_attention_heads=width // channels, head_dim=channels)
    yield beyond(fresh("epsilon"), rms_norm_eps=0.01)
    rope = dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5)
    yield beyond(fresh("theta"), rope_theta=100.0, rope_parameters=rope)
    yield beyond(fresh("theta-nested"), rope_theta=None, rope_parameters=rope)
    yield beyond(fresh("quarter"), partial_rotary_factor=0.25, rope_parameters=dict(rope, rope_theta=10000.0, partial_rotary_factor=0.25))
