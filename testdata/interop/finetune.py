"""Makes testdata/finetune, the results of fine-tuning with common tools: python.sh peft finetune.py

  base/         a micro-griffin in float32, as transformers saves it
  base-bf16/    the same in bfloat16
  full/         base after 300 steps of AdamW on all parameters, by torch, in float32
  full-bf16/    the same, saved in bfloat16
  adapter/      a LoRA adapter for base, trained for 100 steps and saved by PEFT: rank 2 on all linear layers
  merged/       adapter merged into base by PEFT, in float32
  merged-bf16/  the same, saved in bfloat16
  several.pt    two models in the original layout in bfloat16, as a training script saves them: "model" has an output
                head of its own and a value head, "ema_model" an output head that is a copy of its embedding
"""

import os
import shutil
import sys
import tempfile

import torch
from peft import LoraConfig, get_peft_model
from transformers import RecurrentGemmaForCausalLM

import family
import oracle

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "linear_x", "linear_y", "linear_out", "gate_proj", "up_proj", "down_proj"]


def make_base(out):
    """Writes the random weights of family.py with transformers."""
    case = oracle.describe("micro-griffin", family.CASES["micro-griffin"], 5, "float32")
    with tempfile.TemporaryDirectory() as scratch:
        oracle.write_hf(case, family.make_params(case["config"], case["seed"], "float32"), scratch)
        shutil.copytree(f"{scratch}/hf", out)


def load(path):
    return RecurrentGemmaForCausalLM.from_pretrained(path, dtype=torch.float32)


def train(model, steps, rate):
    """Trains the model on text in which most tokens are followed by the one that a fixed table gives."""
    torch.manual_seed(0)
    vocabulary = model.config.vocab_size
    follows = torch.randperm(vocabulary)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    model.train()
    for step in range(steps):
        rows = [torch.randint(vocabulary, (8, 1))]
        for _ in range(11):
            noise = torch.randint(vocabulary, (8, 1))
            rows.append(torch.where(torch.rand(8, 1) < 0.1, noise, follows[rows[-1]]))
        tokens = torch.cat(rows, 1)
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}", file=sys.stderr)
    return model.eval()


def save(model, out):
    model.save_pretrained(out)
    model.to(torch.bfloat16).save_pretrained(out + "-bf16")


def make_several(out):
    config = family.CASES["micro-griffin"]
    model, ema = (family.torch_state(family.make_params(config, seed, "bfloat16")) for seed in (6, 7))
    torch.manual_seed(6)
    shape = model["embedder.input_embedding"].shape
    model["lm_head.weight"] = torch.randn(shape).to(torch.bfloat16)
    model["value_head.weight"] = torch.randn(1, shape[1]).to(torch.bfloat16)
    ema["lm_head.weight"] = ema["embedder.input_embedding"].clone()
    torch.save({"model": model, "ema_model": ema, "step": 300}, out)


def main():
    torch.set_num_threads(1)  # for reproducible sums
    target = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "finetune")
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    os.chdir(target)  # the path of the base in the adapter's configuration is relative to this directory
    make_base("base")
    load("base").to(torch.bfloat16).save_pretrained("base-bf16")
    save(train(load("base"), 300, 1e-3), "full")
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=TARGETS, task_type="CAUSAL_LM")
    adapted = train(get_peft_model(load("base"), config), 100, 1e-2)
    adapted.save_pretrained("adapter")
    os.remove("adapter/README.md")
    save(adapted.merge_and_unload(), "merged")
    make_several("several.pt")


if __name__ == "__main__":
    main()
