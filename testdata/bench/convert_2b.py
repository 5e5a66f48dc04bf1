"""Converts RecurrentGemma 2B from its original layout to Hugging Face, the way a short script does.

    python convert_2b.py torch CHECKPOINT.pt OUT
    python convert_2b.py orbax CHECKPOINT OUT

bench.py compares its speed with griffin's. It is written to be fast and copies no tensor without need. It handles one
size, needs the whole model in memory, checks nothing and writes no tokenizer.
"""

import json
import os
import sys

LAYERS, HEADS, WINDOW, CAP = 26, 10, 2048, 30.0


def load_torch(path):
    import torch
    return torch.load(path, weights_only=True)


def load_orbax(path):
    """The Flax tree under the names of the torch implementation, with kernels transposed to [out, in]."""
    import numpy as np
    import orbax.checkpoint as ocp
    import torch
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as loader:
        tree = loader.restore(os.path.abspath(path))["params"]
    state = {}

    def walk(node, name):
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{name}{key}.")
                continue
            tensor = torch.from_numpy(np.asarray(value).view(np.int16)).view(torch.bfloat16)
            if key == "kernel":
                key, tensor = "weight", tensor.T
            state[name + key] = tensor

    walk(tree, "")
    return state


def rename(state):
    out = {"model.embed_tokens.weight": state["embedder.input_embedding"],
           "model.final_norm.weight": state["final_norm.scale"]}
    for i in range(LAYERS):
        a, b = f"blocks.{i}.", f"model.layers.{i}."
        for norm in ("temporal_pre_norm", "channel_pre_norm"):
            out[f"{b}{norm}.weight"] = state[f"{a}{norm}.scale"]
        for j, proj in enumerate(("gate_proj", "up_proj")):
            out[f"{b}mlp_block.{proj}.weight"] = state[f"{a}mlp_block.ffw_up.w"][j].T
            out[f"{b}mlp_block.{proj}.bias"] = state[f"{a}mlp_block.ffw_up.b"][j].reshape(-1)
        for kind in ("weight", "bias"):
            out[f"{b}mlp_block.down_proj.{kind}"] = state[f"{a}mlp_block.ffw_down.{kind}"]
        if i % 3 == 2:
            for x in "qkv":
                out[f"{b}temporal_block.{x}_proj.weight"] = state[f"{a}attention_block.proj_{x}.weight"]
            for kind in ("weight", "bias"):
                out[f"{b}temporal_block.o_proj.{kind}"] = state[f"{a}attention_block.proj_final.{kind}"]
            continue
        r, t = f"{a}recurrent_block.", f"{b}temporal_block."
        for layer in ("linear_x", "linear_y", "linear_out"):
            for kind in ("weight", "bias"):
                out[f"{t}{layer}.{kind}"] = state[f"{r}{layer}.{kind}"]
        out[f"{t}conv_1d.weight"] = state[f"{r}conv_1d.w"].T[:, None, :]
        out[f"{t}conv_1d.bias"] = state[f"{r}conv_1d.b"]
        out[f"{t}rg_lru.recurrent_param"] = state[f"{r}rg_lru.a_param"]
        for ours, theirs in (("input_gate", "input_gate"), ("a_gate", "recurrent_gate")):
            out[f"{t}rg_lru.{theirs}_weight"] = state[f"{r}rg_lru.{ours}.w"]
            out[f"{t}rg_lru.{theirs}_bias"] = state[f"{r}rg_lru.{ours}.b"]
    return out


def main():
    from safetensors.torch import save_file
    source, path, out = sys.argv[1:]
    tensors = rename({"torch": load_torch, "orbax": load_orbax}[source](path))
    os.makedirs(out)
    save_file({k: v.contiguous() for k, v in tensors.items()}, f"{out}/model.safetensors", {"format": "pt"})
    embedding = tensors["model.embed_tokens.weight"]
    config = dict(architectures=["RecurrentGemmaForCausalLM"], model_type="recurrent_gemma", dtype="bfloat16",
                  vocab_size=embedding.shape[0], hidden_size=embedding.shape[1], lru_width=embedding.shape[1],
                  intermediate_size=2 * tensors["model.layers.0.mlp_block.gate_proj.weight"].shape[0],
                  num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=1,
                  attention_window_size=WINDOW, logits_soft_cap=CAP,
                  block_types=["recurrent", "recurrent", "attention"])
    with open(f"{out}/config.json", "w") as f:
        json.dump(config, f, indent=2)


if __name__ == "__main__":
    main()
