"""The Griffin family as plain data: configurations, random weights, and the names of the weights in each layout.

Weights are a tree of numpy arrays with the names and layout of the Flax implementation. The module imports only numpy
and ml_dtypes at the top, so that every Python environment can use it.
"""

import json
import os

import ml_dtypes  # registers bfloat16 with numpy
import numpy as np

R, A = "recurrent", "attention"

# Configurations small enough for every implementation. A soft cap of 0 means none.
CASES = {
    "tiny-griffin": dict(vocab_size=128, width=32, mlp_expanded_width=96, num_heads=4, lru_width=48,
                         block_types=[R, R, A, R, R], attention_window_size=8,
                         embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
    "tiny-hawk": dict(vocab_size=96, width=64, mlp_expanded_width=192, num_heads=4, lru_width=80,
                      block_types=[R] * 4, attention_window_size=8,
                      embeddings_scale_by_sqrt_dim=False, logits_soft_cap=0.0),
    "small-griffin": dict(vocab_size=1024, width=128, mlp_expanded_width=384, num_heads=2, lru_width=128,
                          block_types=[R, R, A] * 2 + [R, R], attention_window_size=16,
                          embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
    # No size is a power of two or equal to another one; three heads; attention first and last.
    "odd-griffin": dict(vocab_size=61, width=36, mlp_expanded_width=52, num_heads=3, lru_width=30,
                        block_types=[A, R, A], attention_window_size=5,
                        embeddings_scale_by_sqrt_dim=True, logits_soft_cap=20.0),
    # A few kilobytes in every format.
    "micro-griffin": dict(vocab_size=40, width=16, mlp_expanded_width=24, num_heads=2, lru_width=24,
                          block_types=[R, A], attention_window_size=6,
                          embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
    "micro-hawk": dict(vocab_size=40, width=16, mlp_expanded_width=24, num_heads=2, lru_width=20,
                       block_types=[R, R], attention_window_size=6,
                       embeddings_scale_by_sqrt_dim=False, logits_soft_cap=0.0),
}

# Published sizes, for benchmarks, and one that converts in about a second, for tests that interrupt it.
PRESETS = {
    "2b": dict(vocab_size=256000, width=2560, mlp_expanded_width=7680, num_heads=10, lru_width=2560,
               block_types=([R, R, A] * 9)[:26], attention_window_size=2048,
               embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
    "9b": dict(vocab_size=256000, width=4096, mlp_expanded_width=12288, num_heads=16, lru_width=4096,
               block_types=([R, R, A] * 13)[:38], attention_window_size=2048,
               embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
    "mid": dict(vocab_size=64000, width=1024, mlp_expanded_width=3072, num_heads=4, lru_width=1280,
                block_types=[R, R, A] * 3, attention_window_size=512,
                embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
}


def random_config(rng):
    """A random configuration that the original implementation and transformers both support."""
    heads = int(rng.integers(1, 6))
    depth = int(rng.integers(1, 6))
    blocks = [R if rng.random() < 0.6 else A for _ in range(depth)]
    if A not in blocks:  # the cache of transformers 5 needs an attention block
        blocks[int(rng.integers(0, depth))] = A
    return dict(
        vocab_size=int(rng.integers(20, 200)),
        width=4 * heads * int(rng.integers(1, 7)),  # half of a head is rotated, in pairs
        mlp_expanded_width=int(rng.integers(3, 120)),
        num_heads=heads,
        lru_width=heads * int(rng.integers(1, 20)),
        block_types=blocks,
        attention_window_size=int(rng.integers(2, 12)),
        embeddings_scale_by_sqrt_dim=True,
        logits_soft_cap=float(rng.integers(5, 60)),
    )


def has_plain_hf_form(config):
    """Whether transformers can run the model as it is: it always scales embeddings and caps logits."""
    return bool(config["logits_soft_cap"] and config["embeddings_scale_by_sqrt_dim"])


def settings_flags(config):
    """The settings that the weights do not contain, as flags of griffin."""
    return [f"--attention-window={config['attention_window_size']}",
            f"--logits-soft-cap={config['logits_soft_cap']:g}",
            f"--embedding-scale={'true' if config['embeddings_scale_by_sqrt_dim'] else 'false'}"]


def flatten(tree, separator="/", prefix=""):
    out = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            out.update(flatten(value, separator, prefix + key + separator))
        else:
            out[prefix + key] = value
    return out


def map_leaves(function, tree):
    return {k: map_leaves(function, v) if isinstance(v, dict) else function(v) for k, v in tree.items()}


def make_params(config, seed, dtype="float32"):
    """Random weights, rounded to dtype. None is 0 or 1, because such a value could hide a mistake."""
    rng = np.random.default_rng(seed)
    w, m, h, lru = config["width"], config["mlp_expanded_width"], config["num_heads"], config["lru_width"]

    def normal(*shape, std):
        return (rng.standard_normal(shape) * std).astype(np.float32)

    def dense(n_in, n_out, bias=True):
        layer = {"kernel": normal(n_in, n_out, std=n_in**-0.5)}
        if bias:
            layer["bias"] = normal(n_out, std=0.1)
        return layer

    def gate():
        return {"w": normal(h, lru // h, lru // h, std=(lru // h) ** -0.5), "b": normal(h, lru // h, std=0.3)}

    params = {"embedder": {"input_embedding": normal(config["vocab_size"], w, std=w**-0.5)}}
    for i, kind in enumerate(config["block_types"]):
        block = {
            "temporal_pre_norm": {"scale": normal(w, std=0.2)},
            "channel_pre_norm": {"scale": normal(w, std=0.2)},
            "mlp_block": {
                "ffw_up": {"w": normal(2, w, m, std=w**-0.5), "b": normal(2, 1, 1, m, std=0.1)},
                "ffw_down": dense(m, w),
            },
        }
        if kind == R:
            radius2 = rng.uniform(0.9**2, 0.999**2, lru)
            block["recurrent_block"] = {
                "linear_x": dense(w, lru),
                "linear_y": dense(w, lru),
                "linear_out": dense(lru, w),
                "conv_1d": {"w": normal(4, lru, std=0.5), "b": normal(lru, std=0.1)},
                "rg_lru": {
                    "a_param": np.log(np.expm1(-0.5 * np.log(radius2))).astype(np.float32),
                    "input_gate": gate(),
                    "a_gate": gate(),
                },
            }
        else:
            block["attention_block"] = {
                "proj_q": dense(w, w, bias=False),
                "proj_k": dense(w, w // h, bias=False),
                "proj_v": dense(w, w // h, bias=False),
                "proj_final": dense(w, w),
            }
        params[f"blocks.{i}"] = block
    params["final_norm"] = {"scale": normal(w, std=0.2)}
    return map_leaves(lambda x: x.astype(np.dtype(dtype)), params)


def big_params(config, scratch):
    """Random bfloat16 weights of a large model: {path: array}, with kernels as [out, in]. The arrays have the names and
    scales of make_params. They are slices of one pool of random numbers, which is fast, and lie in a scratch file."""
    rng = np.random.default_rng(0)
    pool = rng.standard_normal(1 << 24).astype(ml_dtypes.bfloat16)
    heads, tiny = config["num_heads"], 4 * config["num_heads"]
    tree = make_params(dict(config, width=tiny, mlp_expanded_width=2, vocab_size=2, lru_width=tiny), 0)
    w, m, h, lru = config["width"], config["mlp_expanded_width"], heads, config["lru_width"]
    shapes = {"input_embedding": (config["vocab_size"], w), "ffw_up/w": (2, w, m), "ffw_up/b": (2, 1, 1, m),
              "ffw_down/kernel": (w, m), "ffw_down/bias": (w,), "linear_out/kernel": (w, lru),
              "linear_out/bias": (w,), "linear_x/kernel": (lru, w), "linear_y/kernel": (lru, w),
              "linear_x/bias": (lru,), "linear_y/bias": (lru,), "conv_1d/w": (4, lru), "conv_1d/b": (lru,),
              "a_param": (lru,), "gate/w": (h, lru // h, lru // h), "gate/b": (h, lru // h),
              "proj_q/kernel": (w, w), "proj_k/kernel": (w // h, w), "proj_v/kernel": (w // h, w),
              "proj_final/kernel": (w, w), "proj_final/bias": (w,), "scale": (w,)}
    named = {k: next(v for end, v in shapes.items() if k.endswith(end)) for k in flatten(tree)}
    store = np.memmap(scratch, np.uint16, "w+", shape=(sum(int(np.prod(v)) for v in named.values()),))
    out, at = {}, 0
    for name, shape in named.items():
        std = 0.1 if len(shape) == 1 or name.endswith("/b") else min(shape[-2:]) ** -0.5
        scaled = pool * ml_dtypes.bfloat16(2.0 ** round(np.log2(std)))
        if name.endswith("a_param"):
            scaled = scaled - ml_dtypes.bfloat16(4)
        size = int(np.prod(shape))
        flat = store[at:at + size]
        at += size
        bits = np.roll(scaled.view(np.uint16), int(rng.integers(0, pool.size)))
        for i in range(0, size, pool.size):
            flat[i:i + pool.size] = bits[:min(pool.size, size - i)]
        out[name] = flat.view(ml_dtypes.bfloat16).reshape(shape)
    return out


def torch_tensor(x):
    """A numpy array as a torch tensor of the same dtype and bits. (torch.from_numpy does not support bfloat16.)"""
    import torch
    x = np.ascontiguousarray(x)
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(x.copy())


def torch_state(params):
    """The original torch names and layouts, by the original project's own conversion."""
    import jax
    from recurrentgemma import conversion
    flat = conversion.flax_params_to_pytorch_state_dict(jax.tree_util.tree_map(jax.numpy.asarray, params))
    return {k: v.contiguous() for k, v in flat.items()}


def hf_config(config, dtype):
    return dict(
        vocab_size=config["vocab_size"], hidden_size=config["width"],
        intermediate_size=2 * config["mlp_expanded_width"], num_hidden_layers=len(config["block_types"]),
        num_attention_heads=config["num_heads"], num_key_value_heads=1, lru_width=config["lru_width"],
        attention_window_size=config["attention_window_size"], logits_soft_cap=config["logits_soft_cap"],
        block_types=list(config["block_types"]), partial_rotary_factor=0.5, rope_theta=10000.0,
        torch_dtype=dtype)


def hf_state(params):
    """The weights with the names and layout of transformers, derived from the shapes of its model."""
    def dense(name, layer):
        out[name + ".weight"] = torch_tensor(layer["kernel"].T)
        if "bias" in layer:
            out[name + ".bias"] = torch_tensor(layer["bias"])

    out = {"model.embed_tokens.weight": torch_tensor(params["embedder"]["input_embedding"]),
           "model.final_norm.weight": torch_tensor(params["final_norm"]["scale"])}
    for name, block in params.items():
        if not name.startswith("blocks."):
            continue
        at = "model.layers." + name.split(".")[1]
        for norm in ("temporal_pre_norm", "channel_pre_norm"):
            out[f"{at}.{norm}.weight"] = torch_tensor(block[norm]["scale"])
        up = block["mlp_block"]["ffw_up"]
        for j, proj in enumerate(("gate_proj", "up_proj")):
            out[f"{at}.mlp_block.{proj}.weight"] = torch_tensor(up["w"][j].T)
            out[f"{at}.mlp_block.{proj}.bias"] = torch_tensor(up["b"][j, 0, 0])
        dense(f"{at}.mlp_block.down_proj", block["mlp_block"]["ffw_down"])
        if "attention_block" in block:
            for ours, theirs in (("q", "q"), ("k", "k"), ("v", "v"), ("final", "o")):
                dense(f"{at}.temporal_block.{theirs}_proj", block["attention_block"]["proj_" + ours])
            continue
        recurrent = block["recurrent_block"]
        for layer in ("linear_x", "linear_y", "linear_out"):
            dense(f"{at}.temporal_block.{layer}", recurrent[layer])
        conv, lru = recurrent["conv_1d"], recurrent["rg_lru"]
        out[f"{at}.temporal_block.conv_1d.weight"] = torch_tensor(conv["w"].T[:, None, :])
        out[f"{at}.temporal_block.conv_1d.bias"] = torch_tensor(conv["b"])
        out[f"{at}.temporal_block.rg_lru.recurrent_param"] = torch_tensor(lru["a_param"])
        for ours, theirs in (("input_gate", "input_gate"), ("a_gate", "recurrent_gate")):
            out[f"{at}.temporal_block.rg_lru.{theirs}_weight"] = torch_tensor(lru[ours]["w"])
            out[f"{at}.temporal_block.rg_lru.{theirs}_bias"] = torch_tensor(lru[ours]["b"])
    return out


def load_case(path):
    """The case.json of a case directory, and its weights."""
    with open(os.path.join(path, "case.json")) as f:
        case = json.load(f)
    return case, make_params(case["config"], case["seed"], case["dtype"])
