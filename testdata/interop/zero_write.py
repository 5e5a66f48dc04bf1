"""Trains one small model with DeepSpeed and saves it: zero_write.py WORLD STAGE SEED DIR

WORLD processes (gloo, CPU) take two steps with ZeRO of that stage in bfloat16. The model has frozen parameters, buffers,
tied weights and two groups of parameters. The digests that DeepSpeed's own zero_to_fp32.py gives are in DIR/want.json,
those of the weights that the model computes with in DIR/compute.json (not for stage 3, which does not keep them).
"""

import importlib.util
import json
import os
import sys

os.environ.update(DS_ACCELERATOR="cpu", DS_BUILD_OPS="0", DS_SKIP_CUDA_CHECK="1")

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import expect


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(13, 10)
        self.up = torch.nn.Linear(10, 14)
        self.down = torch.nn.Linear(14, 10)
        self.head = torch.nn.Linear(10, 13, bias=False)
        self.head.weight = self.embed.weight
        self.frozen = torch.nn.Linear(13, 3).requires_grad_(False)
        self.register_buffer("mean", torch.randn(2, 3))
        self.register_buffer("ids", torch.arange(4))

    def forward(self, tokens):
        return self.frozen(self.head(self.down(self.up(self.embed(tokens))))).float().pow(2).mean()


def train(rank, world, stage, seed, out):
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), LOCAL_SIZE=str(world))
    import deepspeed
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo", verbose=False)
    torch.manual_seed(seed)
    model = Model()
    groups = [{"params": [p for p in model.parameters() if p.requires_grad and p.dim() == dim], "weight_decay": decay}
              for dim, decay in ((2, 0.1), (1, 0.0))]
    engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config={
        "train_micro_batch_size_per_gpu": 1, "bf16": {"enabled": True}, "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": stage, "sub_group_size": 100},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-2, "torch_adam": True}}})
    for step in range(2):
        engine.backward(engine(torch.arange(5) + rank + step))
        engine.step()
    engine.save_checkpoint(out)
    if rank == 0 and stage < 3:
        with open(f"{out}/compute.json", "w") as f:
            json.dump({name: expect.digest_torch(t) for name, t in engine.module.state_dict().items()}, f)
    dist.barrier()
    dist.destroy_process_group()


def judge(out):
    """What zero_to_fp32.py, which DeepSpeed copied beside the checkpoint, makes of it."""
    spec = importlib.util.spec_from_file_location("zero_to_fp32", f"{out}/zero_to_fp32.py")
    script = importlib.util.module_from_spec(spec)
    sys.modules["zero_to_fp32"] = script
    spec.loader.exec_module(script)
    state = script.get_fp32_state_dict_from_zero_checkpoint(out)
    with open(f"{out}/want.json", "w") as f:
        json.dump({name: expect.digest_torch(t) for name, t in state.items()}, f)


def main():
    world, stage, seed, out = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.makedirs(out, exist_ok=True)
    os.environ.setdefault("MASTER_PORT", str(20000 + os.getpid() % 20000))
    mp.spawn(train, (world, stage, seed, out), nprocs=world)
    judge(out)


if __name__ == "__main__":
    main()
