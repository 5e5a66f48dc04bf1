"""Writes dcp/testdata/training: micro-griffin as accelerate leaves it, with an optimizer and a step: python.sh current ../../formats/torch/testdata/generate_training.py"""

import os
import shutil

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "../../../testdata/micro-griffin/hf")
TRAINING = os.path.join(HERE, "../dcp/testdata/training")

shutil.rmtree(TRAINING, ignore_errors=True)
model = load_file(f"{MODEL}/model.safetensors")
name = next(iter(model))
optimizer = {"state": {name: {"exp_avg": torch.zeros(model[name].shape)}}}
dcp.save({"model": model, "optimizer": optimizer, "step": torch.tensor(3)},
         checkpoint_id=f"{TRAINING}/pytorch_model_fsdp_0", no_dist=True)
shutil.copy(f"{MODEL}/config.json", TRAINING)
shutil.copy(f"{MODEL}/generation_config.json", TRAINING)
