"""Writes one small model as the ranks of a distributed training do: sharded_write.py WORLD SEED DIR [BLOCKS]

WORLD processes (gloo, CPU) hold the same random weights and cut them in every way that torch knows. Each layout is a
directory in DIR; the digests of the whole tensors are in DIR/want.json. Sizes divide evenly nowhere: there are short and
empty shards. With torch of 2024 (environment 2024) it writes the files of single ranks only.
"""

import json
import os
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed._shard.sharded_tensor import Shard as LocalShard
from torch.distributed._shard.sharded_tensor import init_from_local_shards
from torch.distributed.device_mesh import init_device_mesh

try:
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
except ImportError:  # torch of 2024
    fully_shard = None
    from torch.distributed._tensor import DTensor, Replicate, Shard, distribute_tensor

import expect


class Block(torch.nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.up = torch.nn.Linear(width, hidden)
        self.down = torch.nn.Linear(hidden, width, dtype=torch.bfloat16)
        self.scale = torch.nn.Parameter(torch.empty(1))
        self.register_buffer("mean", torch.empty(5))
        self.register_buffer("count", torch.empty((), dtype=torch.int64))


class Model(torch.nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.embed = torch.nn.Embedding(61, 10)
        self.blocks = torch.nn.ModuleList(Block(10, 14) for _ in range(blocks))
        self.conv = torch.nn.Conv1d(6, 7, 4)
        self.head = torch.nn.Linear(10, 3, bias=False)


def make_model(seed, blocks):
    """The same model in every process."""
    generator = torch.Generator().manual_seed(seed)
    model = Model(blocks)
    with torch.no_grad():
        for t in model.state_dict().values():
            t.copy_(torch.randint(0, 1000, t.shape, generator=generator) if t.dtype == torch.int64
                    else torch.randn(t.shape, generator=generator))
    return model


def digests(tensors):
    return {name: expect.digest_torch(t) for name, t in tensors.items()}


def save_ranks(state, directory, name="model_world_size_{world}_rank_{rank}.pt"):
    os.makedirs(directory, exist_ok=True)
    torch.save(state, os.path.join(directory, name.format(world=dist.get_world_size(), rank=dist.get_rank())))


def with_optimizer(model):
    """What a trainer saves: the model with the optimizer's state, the schedule and the step beside it."""
    from torch.distributed.checkpoint.state_dict import get_state_dict
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.dtype == torch.float32)
    state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": state, "optimizer": optimizer_state, "lr_scheduler": {"last_epoch": 3}, "step": torch.tensor(7), "loss": 0.5}


def write_fsdp2(model, mesh, out, plan=None):
    """FSDP2 over a mesh; plan applies tensor parallelism first."""
    if plan:
        plan(model, mesh)
    data = mesh["dp"] if plan else mesh
    for block in model.blocks:
        fully_shard(block, mesh=data)
    fully_shard(model, mesh=data)
    state = with_optimizer(model)
    dcp.save(state, checkpoint_id=f"{out}/dcp")
    save_ranks(dict(model.state_dict()), f"{out}/ranks")
    save_ranks(state["optimizer"], f"{out}/ranks", "optim_world_size_{world}_rank_{rank}.pt")
    return model


def tensor_parallel(model, mesh):
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    for block in model.blocks:
        parallelize_module(block, mesh["tp"], {"up": ColwiseParallel(), "down": RowwiseParallel()})


class AppState:
    """The wrapper of torch's own tutorial on distributed checkpoints."""

    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return {"model": self.state["model"], "optim": self.state["optimizer"]}

    def load_state_dict(self, state):
        raise NotImplementedError


def write_current(make, world, out):
    model = write_fsdp2(make(), init_device_mesh("cpu", (world,)), f"{out}/fsdp2")
    state = with_optimizer(model)
    dcp.save({"app": AppState(state)}, checkpoint_id=f"{out}/app")
    # as torchtitan: the model's names stand at the top
    dcp.save({**state["model"], "optimizer": state["optimizer"], "train_state": {"step": torch.tensor(7)}},
             checkpoint_id=f"{out}/titan/step-7")
    dcp.save(state["model"], storage_writer=dcp.HuggingFaceStorageWriter(f"{out}/hf", save_distributed=True))
    dcp.save(state["model"], storage_writer=dcp.FileSystemWriter(f"{out}/threads", thread_count=2, single_file_per_rank=False))
    if world % 2 == 0:
        mesh = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("dp", "tp"))
        write_fsdp2(make(), mesh, f"{out}/fsdp2-tp", tensor_parallel)
        write_fsdp2(make(), init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("replicate", "shard")), f"{out}/hsdp")
    partial = DTensor.from_local(torch.ones(3, 2), init_device_mesh("cpu", (world,)), [Partial()], run_check=False)
    save_ranks({"w": partial}, f"{out}/partial")


def write_dtensors(full, world, out):
    """Every placement that needs no more than torch of 2024, on meshes of one and two dimensions."""
    meshes = [(init_device_mesh("cpu", (world,)), 1)]
    if world % 2 == 0:
        meshes.append((init_device_mesh("cpu", (2, world // 2)), 2))
    state = {}
    for mesh, dims in meshes:
        for name, t in full.items():
            for axis in range(t.dim()):
                placements = [[Shard(axis)], [Replicate()]] if dims == 1 else \
                    [[Shard(axis), Shard(axis)], [Shard(axis), Shard(t.dim() - 1 - axis)], [Replicate(), Shard(axis)], [Shard(axis), Replicate()]]
                for i, p in enumerate(placements):
                    state[f"{dims}.{axis}.{i}.{name}"] = distribute_tensor(t.clone(), mesh, p)
    save_ranks({"model": state, "optimizer": {"step": 1}}, f"{out}/dtensors", "rank{rank}.pt")
    return {name: full[name.split(".", 3)[3]] for name in state}


def write_sharded_tensors(full, world, out):
    """ShardedTensors as FSDP of torch 1 and 2.0 saves them: rows, cut as torch.chunk cuts them."""
    rank, state = dist.get_rank(), {}
    for name, t in full.items():
        if t.dim() == 0:
            state[name] = t
            continue
        step = -(-t.shape[0] // world)
        from_, to = min(rank * step, t.shape[0]), min((rank + 1) * step, t.shape[0])
        shards = []
        if from_ < to:
            offsets = [from_] + [0] * (t.dim() - 1)
            shards = [LocalShard.from_tensor_and_offsets(t[from_:to].clone(), offsets, rank)]
        state[name] = init_from_local_shards(shards, t.size())
    save_ranks(state, f"{out}/sharded-tensors", "shard-{rank:02d}-of-{world}.ckpt")


def write(rank, world, seed, out, blocks):
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    full = {name: t.detach() for name, t in make_model(seed, blocks).state_dict().items()}
    if fully_shard:
        write_current(lambda: make_model(seed, blocks), world, out)
    named = write_dtensors(dict(list(full.items())[:4 * blocks]), world, out)
    write_sharded_tensors(full, world, out)
    if rank == 0:
        with open(f"{out}/want.json", "w") as f:
            json.dump({"model": digests(full), "dtensors": digests(named)}, f)
    dist.barrier()
    dist.destroy_process_group()


def main():
    world, seed, out, blocks = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 2
    os.makedirs(out, exist_ok=True)
    os.environ.setdefault("MASTER_PORT", str(20000 + os.getpid() % 20000))
    mp.spawn(write, (world, seed, out, blocks), nprocs=world)


if __name__ == "__main__":
    main()
