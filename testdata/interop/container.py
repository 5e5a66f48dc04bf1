"""Changes the container of models that are no Griffins: python.sh current container.py [--seed N]

Models of well-known architectures, made by transformers with small configurations and random weights, are saved by the
libraries themselves: torch.save in both containers, torch.distributed.checkpoint, Orbax and Flax. What
`griffin convert --to safetensors` makes of each must be the very file that safetensors.torch.save_file writes for the
same tensors, or the shards that huggingface_hub writes. transformers must load the directory.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import warnings

import ml_dtypes
import numpy as np
import torch
import transformers
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

import griffin


def configurations(rng):
    """One small configuration of each architecture."""
    heads = rng.choice([2, 4])
    width = heads * rng.choice([4, 6, 8])
    layers, vocabulary = rng.randint(1, 3), rng.randint(40, 90)
    shared = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": width * 3}
    return {
        "GPT2LMHeadModel": transformers.GPT2Config(vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=16, bos_token_id=0, eos_token_id=1),
        "LlamaForCausalLM": transformers.LlamaConfig(**shared, num_key_value_heads=1),
        "MixtralForCausalLM": transformers.MixtralConfig(**shared, num_key_value_heads=heads, num_local_experts=3, num_experts_per_tok=1),
        "Gemma2ForCausalLM": transformers.Gemma2Config(**shared, num_key_value_heads=1, head_dim=4),
        "BertForMaskedLM": transformers.BertConfig(**shared, max_position_embeddings=16),
        "T5ForConditionalGeneration": transformers.T5Config(vocab_size=vocabulary, d_model=width, d_kv=4, d_ff=width, num_layers=layers, num_heads=heads),
        "MambaForCausalLM": transformers.MambaConfig(vocab_size=vocabulary, hidden_size=width, state_size=4, num_hidden_layers=layers, time_step_rank=2),
        "ViTForImageClassification": transformers.ViTConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=width, image_size=8, patch_size=4),
        "WhisperForConditionalGeneration": transformers.WhisperConfig(
            vocab_size=vocabulary, num_mel_bins=4, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads, decoder_attention_heads=heads, d_model=width,
            encoder_ffn_dim=width, decoder_ffn_dim=width, max_source_positions=8, max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1),
        "ResNetForImageClassification": transformers.ResNetConfig(embedding_size=4, hidden_sizes=[8, 16], depths=[1, 2]),
    }


def as_numpy(t):
    t = t.detach().contiguous()
    if t.dtype == torch.bfloat16:
        return t.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def tree(state):
    """The nested dictionaries that the names of a state dict describe."""
    root = {}
    for name, t in state.items():
        *path, last = name.split(".")
        node = root
        for key in path:
            node = node.setdefault(key, {})
        node[last] = as_numpy(t)
    return root


def save_zip(state, path):
    torch.save(state, path)


def save_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def save_dcp(state, path):
    import torch.distributed.checkpoint as dcp
    dcp.save(state, checkpoint_id=path, no_dist=True)


def save_orbax(state, path):
    import orbax.checkpoint as ocp
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as saver:
        saver.save(path, args=ocp.args.PyTreeSave(tree(state)))


def save_flax(state, path):
    import flax.serialization
    with open(path, "wb") as f:
        f.write(flax.serialization.to_bytes(tree(state)))


WRITERS = {".pt": save_zip, ".legacy.pt": save_legacy, ".dcp": save_dcp, ".orbax": save_orbax, ".msgpack": save_flax}


def read(path):
    with open(path, "rb") as f:
        return f.read()


def check_file(want, source, work, writer):
    got = f"{work}/got{writer}.safetensors"
    griffin.convert(source, got, "--to", "safetensors", "--verify")
    return "" if read(got) == read(want) else "not the bytes of safetensors.torch.save_file"


def check_shards(state, source, work):
    """Holds shards against those of huggingface_hub, which leaves copies of shared tensors out, so that there are none."""
    want, got = f"{work}/want-shards", f"{work}/got-shards"
    size = max(t.numel() * t.element_size() for t in state.values()) + 100
    os.makedirs(want)
    save_torch_state_dict({k: v.clone().contiguous() for k, v in state.items()}, want, max_shard_size=size)
    griffin.convert(source, got, "--to", "safetensors", "--verify", "--max-shard-size", f"{size}B")
    if sum(name.endswith(".safetensors") for name in os.listdir(want)) < 2:
        return "a single shard"
    maps = []
    for directory in want, got:
        with open(f"{directory}/model.safetensors.index.json") as f:
            maps.append(json.load(f)["weight_map"])
    if maps[0] != maps[1]:
        return griffin.differences(*maps)
    other = [name for name in os.listdir(want) if name.endswith(".safetensors") and read(f"{want}/{name}") != read(f"{got}/{name}")]
    return f"other bytes in {other}" if other else ""


def check_loads(model, work):
    """transformers loads the directory that griffin makes of a pytorch_model.bin and what lies beside it."""
    old, new = f"{work}/old", f"{work}/new"
    model.config.save_pretrained(old)
    state = model.state_dict()
    torch.save(state, f"{old}/pytorch_model.bin")
    griffin.convert(old, new, "--to", "safetensors")
    loaded = type(model).from_pretrained(new).state_dict()
    other = [name for name, t in state.items() if name not in loaded or not torch.equal(t, loaded[name])]
    return f"other values of {other}" if other or len(loaded) != len(state) else ""


def check_model(score, name, config, rng, work):
    torch.manual_seed(rng.randrange(1 << 30))
    model = getattr(transformers, name)(config).to(rng.choice([torch.float32, torch.bfloat16, torch.float16]))
    state = model.state_dict()
    for key in list(state)[:: rng.randint(3, 9)]:
        if state[key].dim() == 2:
            state[key] = state[key].t().contiguous().t()  # not contiguous
    want = f"{work}/want.safetensors"
    save_file({k: v.clone().contiguous() for k, v in state.items()}, want, metadata={"format": "pt"})
    for writer, save in WRITERS.items():
        source = f"{work}/model{writer}"
        save(state, source)
        score.attempt(f"{name} {writer}", check_file, want, source, work, writer)
    score.attempt(f"{name} in shards", check_shards, state, f"{work}/model.pt", work)
    score.attempt(f"{name} loads", check_loads, model, work)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    seed = parser.parse_args().seed
    print(f"seed {seed}", flush=True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")
    rng = random.Random(seed)
    score = griffin.Score("containers of other models")
    for name, config in configurations(rng).items():
        with tempfile.TemporaryDirectory() as work:
            check_model(score, name, config, rng, work)
    score.finish()


if __name__ == "__main__":
    sys.exit(main())
