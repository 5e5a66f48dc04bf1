"""Checkpoints for the checks of object stores."""

import json
import os

import family

LARGE = dict(family.CASES["small-griffin"], vocab_size=30_000, width=256, mlp_expanded_width=768, lru_width=256)  # 45 MB, several parts


def make(config, seed, directory):
    """A Hugging Face directory with random weights in float32."""
    import safetensors.torch
    os.makedirs(directory)
    safetensors.torch.save_file(family.hf_state(family.make_params(config, seed)), f"{directory}/model.safetensors", metadata={"format": "pt"})
    with open(f"{directory}/config.json", "w") as f:
        json.dump(family.hf_config(config, "float32"), f)
