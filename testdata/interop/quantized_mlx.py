"""Writes quantised copies of a Hugging Face directory with MLX, in the environment mlx: quantized_mlx.py BASE OUT GROUP BITS...

For each number of bits it makes OUT/mlx-BITSbit and OUT/mlx-BITSbit.dequantised.safetensors, which has the quantised matrices as MLX
dequantises them. Matrices whose rows are not whole groups are left alone, as mlx_lm.convert does.
"""

import json
import os
import sys

import mlx.core as mx


def write(base, out, group, bits):
    weights, state, values = mx.load(base + "/model.safetensors"), {}, {}
    for name, value in weights.items():
        if name.endswith("conv_1d.weight"):
            state[name] = value.moveaxis(2, 1)
        elif value.ndim == 2 and name.endswith(".weight") and value.shape[-1] % group == 0:
            module = name.removesuffix(".weight")
            state[name], state[module + ".scales"], state[module + ".biases"] = parts = mx.quantize(value, group_size=group, bits=bits)
            values[name] = mx.dequantize(*parts, group_size=group, bits=bits)
        else:
            state[name] = value
    os.makedirs(out)
    mx.save_safetensors(out + "/model.safetensors", state, metadata={"format": "mlx"})
    mx.save_safetensors(out + ".dequantised.safetensors", values)
    with open(base + "/config.json") as f:
        config = json.load(f)
    config["quantization"] = config["quantization_config"] = dict(group_size=group, bits=bits, mode="affine")
    with open(out + "/config.json", "w") as f:
        json.dump(dict(sorted(config.items())), f, indent=4)
        f.write("\n")


if __name__ == "__main__":
    for bits in map(int, sys.argv[4:]):
        write(sys.argv[1], f"{sys.argv[2]}/mlx-{bits}bit", int(sys.argv[3]), bits)
