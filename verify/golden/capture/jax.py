#!/usr/bin/env python3
"""Records a golden fixture from google-deepmind/recurrentgemma in JAX, for griffin to verify checkpoints against.

    python capture_jax.py CHECKPOINT --random 128 --out golden.safetensors

CHECKPOINT is the Orbax directory of the Flax weights (such as 2b/), or a file of Flax's msgpack. It needs jax, flax,
orbax-checkpoint and recurrentgemma, runs on whatever device JAX chooses (JAX_PLATFORMS=cpu for the processor), and
writes tokens, positions, logits, hidden.i, temporal.i and final_norm; under --decode-from also decode.logits.

Unless XLA_FLAGS is set it is set to --xla_allow_excess_precision=false, so that bfloat16 is rounded where the model
says. The flags that change how products are rounded are recorded.
"""

from common import *  # replaced by the text of common.py when the script is printed

os.environ.setdefault("XLA_FLAGS", "--xla_allow_excess_precision=false")


def load(path):
    """Parameters as they are stored, nested by Flax's names, in the machine's memory."""
    tree = load_msgpack(path) if os.path.isfile(path) else load_orbax(os.path.abspath(path))
    while isinstance(tree, dict) and "embedder" not in tree and ("params" in tree or len(tree) == 1):
        tree = tree.get("params") or next(iter(tree.values()))
    if not isinstance(tree, dict) or "embedder" not in tree:
        sys.exit(f"{path}: holds no parameters of a Griffin")
    return tree


def load_orbax(path):
    import jax
    import orbax.checkpoint as ocp
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as loader:
        stored = loader.metadata(path)
        for layer in ("item_metadata", "tree"):  # that newer versions of Orbax wrap it in
            stored = getattr(stored, layer, stored)
        # Without this Orbax would look for the devices that the checkpoint was written on.
        as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        return loader.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_arrays))


def load_msgpack(path):
    from flax import serialization
    with open(path, "rb") as f:
        return serialization.msgpack_restore(f.read())


def flatten(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def parameters(flat):
    for name, value in flat.items():
        yield name, value.dtype.name, value.shape, np.ascontiguousarray(value).reshape(-1).view(np.uint8)


def to_device(tree, dtype):
    """The same parameters as JAX's arrays, one after the other, so that the two are not in memory twice."""
    import jax.numpy as jnp
    return {name: to_device(tree.pop(name), dtype) if isinstance(tree[name], dict) else jnp.asarray(tree.pop(name)).astype(dtype)
            for name in list(tree)}


def tracer(model, logits_only):
    """A function of (variables, tokens, positions) that gives logits and all that is seen on the way."""
    import jax

    @jax.jit
    def trace(variables, tokens, positions):
        if logits_only:
            return {"logits": model.apply(variables, tokens, positions)[0]}
        (logits, _), state = model.apply(variables, tokens, positions, mutable=["intermediates"],
                                         capture_intermediates=lambda module, method: method in ("__call__", "encode"))
        seen = state["intermediates"]
        out = {"logits": logits, "hidden.0": seen["embedder"]["encode"][0], "final_norm": seen["final_norm"]["__call__"][0]}
        for i in range(len(model.config.block_types)):
            block = seen[f"blocks.{i}"]
            temporal = block.get("recurrent_block") or block["attention_block"]
            out[f"hidden.{i + 1}"] = block["__call__"][0][0]
            out[f"temporal.{i}"] = temporal["__call__"][0][0]
        return out

    return trace


def decode(model, variables, inputs, start):
    """Logits from position start-1 on: the first tokens at once, the others through the cache."""
    import jax
    import jax.numpy as jnp
    tokens, positions = jnp.asarray(inputs.tokens), jnp.asarray(inputs.positions)
    apply = jax.jit(model.apply)
    logits, cache = apply(variables, tokens[:, :start], positions[:, :start])
    steps = [logits[:, -1]]
    for t in range(start, tokens.shape[1]):
        logits, cache = apply(variables, tokens[:, t:t + 1], positions[:, t:t + 1], cache)
        steps.append(logits[:, 0])
    return jnp.stack(steps, 1)


def main():
    p = parser(__doc__)
    add_original_options(p)
    p.add_argument("--scan", default="AUTO", choices=("AUTO", "LINEAR_NATIVE", "ASSOCIATIVE_NATIVE", "LINEAR_PALLAS"),
                   help="how the recurrence is computed (default: as recurrentgemma chooses)")
    args = p.parse_args()

    import jax
    import jax.numpy as jnp
    from recurrentgemma import common
    from recurrentgemma.jax import griffin
    tree = load(args.checkpoint)
    flat = dict(flatten(tree))
    config = original_config(args, {k: tuple(v.shape) for k, v in flat.items()})
    config = config._replace(scan_type=common.ScanType[args.scan])
    inputs = Inputs(args, config.vocab_size)
    if args.decode_from is not None and not 1 <= args.decode_from <= inputs.tokens.shape[1]:
        sys.exit(f"--decode-from {args.decode_from}: rows have {inputs.tokens.shape[1]} tokens")
    meta = dict(implementation="google-deepmind/recurrentgemma jax", **versions("recurrentgemma", "jax", "jaxlib", "flax"))
    if not args.no_digest:
        meta["model_digest"] = digest("flax", parameters(flat))
    dtype = jnp.dtype(args.dtype) if args.dtype else flat["embedder.input_embedding"].dtype
    if dtype == np.float64 and not jax.config.jax_enable_x64:
        sys.exit("JAX computes float64 as float32 unless JAX_ENABLE_X64=1 is set: set it, or give --dtype float32")
    flat.clear()
    variables = {"params": to_device(tree, dtype)}
    model = griffin.Griffin(config, gradient_checkpointing=False)

    result = {"tokens": inputs.tokens}
    trace = tracer(model, args.logits_only)
    for prefix, positions in inputs.passes():
        result[prefix + "positions"] = positions
        seen = trace(variables, jnp.asarray(inputs.tokens), jnp.asarray(positions))
        result.update({prefix + name: value for name, value in seen.items()})
    if args.decode_from is not None:
        result["decode.logits"] = decode(model, variables, inputs, args.decode_from)
        meta["decode_start"] = args.decode_from

    device = jax.local_devices()[0]
    meta.update(
        dtype=dtype.name, backend=f"{jax.default_backend()} {device.device_kind}".strip(), scan_type=args.scan,
        jax_default_matmul_precision=jax.config.jax_default_matmul_precision, xla_flags=os.environ["XLA_FLAGS"],
        xla_allow_excess_precision="--xla_allow_excess_precision=false" not in os.environ["XLA_FLAGS"])
    write_fixture(args.out, result, meta, lambda x: np.asarray(x.astype(jnp.float32)))


if __name__ == "__main__":
    main()
