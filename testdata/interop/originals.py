"""Writes weights in the original formats with the libraries of the environment.

    python originals.py ERA CASE_DIR...     adds CASE_DIR/original-ERA/ to existing cases

ERA is 2024, for the environment of that name, or mesh, which distributes the arrays over four devices so that each is
saved in several chunks.
"""

import os
import sys

import numpy as np

import family


def pytree(path, tree, **options):
    import orbax.checkpoint as ocp
    saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options))
    saver.save(os.path.abspath(path), tree)
    saver.close()


def manager(path, tree, step):
    import orbax.checkpoint as ocp
    with ocp.CheckpointManager(os.path.abspath(path)) as steps:
        steps.save(step, args=ocp.args.StandardSave(tree))
        steps.wait_until_finished()


def msgpack(path, tree):
    import flax.serialization
    os.makedirs(path)
    with open(f"{path}/checkpoint", "wb") as f:
        f.write(flax.serialization.to_bytes(tree))


def torch_files(out, params):
    import torch
    state = family.torch_state(params)
    torch.save(state, f"{out}/torch.pt")
    torch.save(state, f"{out}/torch-legacy.pt", _use_new_zipfile_serialization=False)


def training_state(path, params):
    """Saves a training state: the model and the moments of its optimizer, which have the same names and shapes."""
    import optax
    import orbax.checkpoint as ocp
    from flax.training import train_state
    state = train_state.TrainState.create(apply_fn=None, params=params, tx=optax.adam(1e-3))
    saver = ocp.StandardCheckpointer()
    saver.save(os.path.abspath(path), state)
    if hasattr(saver, "wait_until_finished"):
        saver.wait_until_finished()
    saver.close()


def as_jax(params):
    import jax
    return family.map_leaves(jax.numpy.asarray, params)


def write_current(params, out):
    """Every original format that current libraries write."""
    tree = {"params": as_jax(params)}
    pytree(f"{out}/orbax-ocdbt", tree, use_ocdbt=True, use_zarr3=False)
    pytree(f"{out}/orbax-zarr", tree, use_ocdbt=False, use_zarr3=False)
    pytree(f"{out}/orbax-zarr3", tree, use_ocdbt=True, use_zarr3=True)
    manager(f"{out}/orbax-manager", tree, 7)
    msgpack(f"{out}/flax-msgpack", tree)
    torch_files(out, params)


def write_2024(params, out):
    tree = {"params": as_jax(params)}
    pytree(f"{out}/orbax-ocdbt", tree, use_ocdbt=True)
    pytree(f"{out}/orbax-zarr", tree, use_ocdbt=False)
    manager(f"{out}/orbax-manager", tree, 7)
    msgpack(f"{out}/flax-msgpack", tree)
    torch_files(out, params)


def write_mesh(params, out):
    """Orbax formats with arrays divided over four devices, along the first axis whose size is a multiple of four."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    devices = np.array(jax.devices())
    assert devices.size == 4, "XLA_FLAGS does not set four devices"
    mesh = Mesh(devices, ("x",))

    def cut(x):
        axis = next((i for i, n in enumerate(x.shape) if n % 4 == 0), None)
        spec = PartitionSpec(*("x" if i == axis else None for i in range(x.ndim)))
        return jax.device_put(x, NamedSharding(mesh, spec))

    tree = {"params": family.map_leaves(cut, params)}
    pytree(f"{out}/orbax-ocdbt", tree, use_ocdbt=True, use_zarr3=False)
    pytree(f"{out}/orbax-zarr", tree, use_ocdbt=False, use_zarr3=False)
    pytree(f"{out}/orbax-zarr3", tree, use_ocdbt=True, use_zarr3=True)


def write_big(flat, kind, target):
    """One large checkpoint from family.big_params: torch, orbax-ocdbt, orbax-zarr or orbax-zarr3."""
    if kind == "torch":
        import torch
        state = {k.replace("/", ".").replace("kernel", "weight"):
                 torch.from_numpy(v.view(np.int16)).view(torch.bfloat16) for k, v in flat.items()}
        torch.save(state, target)
        return
    tree = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = np.ascontiguousarray(value.T) if last == "kernel" else value
    pytree(target, {"params": tree}, use_ocdbt=kind != "orbax-zarr", use_zarr3=kind == "orbax-zarr3")


def main():
    era, *cases = sys.argv[1:]
    for directory in cases:
        _, weights = family.load_case(directory)
        out = f"{directory}/original-{era}"
        os.makedirs(out)
        {"2024": write_2024, "mesh": write_mesh}[era](weights, out)


if __name__ == "__main__":
    if sys.argv[1] == "mesh":
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    main()
