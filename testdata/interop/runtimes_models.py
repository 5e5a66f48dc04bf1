"""The models of runtimes.py: Hugging Face directories that griffin writes, and some whose files were edited afterwards."""

import json
import os

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
OLDER = ["recurrent", "recurrent", "attention"]


class Model:
    """A directory with the configuration and the weights of the original; params is None if the original cannot run the model."""

    def __init__(self, name, directory, config, params, dtype):
        self.name, self.dir, self.config, self.params, self.dtype = name, directory, config, params, dtype
        self.tolerance, self.semantics = {}, True


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


def make(root, seed):
    """Yields the models."""
    def fresh(name, **options):
        nonlocal seed
        seed += 1
        return written(root, name, seed, **options)

    yield fresh("plain", flags=[])
    yield fresh("matched")
    yield fresh("wide-recurrence", config=dict(BASE, lru_width=88))
    yield own_head(fresh("own-head"), seed)
    yield copied_head(fresh("copied-head"))
    yield fresh("no-cap", config=dict(BASE, logits_soft_cap=0.0))
    yield fresh("hawk", config=dict(BASE, block_types=[R, R, R]))
    yield fresh("bfloat16", config=dict(ODD_ROOT, block_types=[R, A]), dtype="bfloat16")
    yield fresh("odd-root", config=ODD_ROOT)
    yield fresh("2b-in-small", config=dict(ODD_ROOT, block_types=([R, R, A] * 9)[:5]), dtype="bfloat16", flags=["--match-runtime=transformers5,mlx-lm"])
    yield fresh("attention-only", config=dict(BASE, block_types=[A, A]), flags=[])
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
    yield beyond(fresh("epsilon"), rms_norm_eps=0.01)
    rope = dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5)
    yield beyond(fresh("theta"), rope_theta=100.0, rope_parameters=rope)
    yield beyond(fresh("theta-nested"), rope_theta=None, rope_parameters=rope)
    yield beyond(fresh("quarter"), partial_rotary_factor=0.25, rope_parameters=dict(rope, rope_theta=10000.0, partial_rotary_factor=0.25))
