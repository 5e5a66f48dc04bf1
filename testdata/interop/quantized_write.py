"""Writes quantised copies of a Hugging Face directory of RecurrentGemma, and what the libraries dequantise them to.

write(base, out, block) makes out/NAME for each copy in COPIES, and out/NAME.dequantised.safetensors with the quantised matrices as the
library that reads such copies dequantises them: int8 and 4 bits by bitsandbytes, fp8 by transformers. fp8 with a scale for each row, as
compressed-tensors and FBGEMM have it, is written and read here by their rule. Run in the environment bitsandbytes.

bitsandbytes 0.50.2 for CPUs takes wrong scales for matrices in 4 bits whose rows are not whole blocks (rows of 32, blocks of 64): its
compiled function disagrees with its own generic one and with its documentation. The generic one is taken; where rows are whole blocks, both
have to agree.
"""

import json
import os
import shutil

import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.functional import dequantize_blockwise
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.integrations.bitsandbytes import dequantize_bnb_weight
from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize

BITSANDBYTES = {
    "bnb-int8": dict(load_in_8bit=True),
    "bnb-nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "bnb-nf4-double": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "bnb-fp4": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
}
FLOAT8 = ("fp8-blocks", "fp8-tensor", "fp8-rows")
COPIES = (*BITSANDBYTES, *FLOAT8)


def dequantize_bitsandbytes(module):
    value = dequantize_bnb_weight(module.weight, getattr(module, "state", None)).contiguous()
    if type(module.weight).__name__ == "Int8Params":
        return value
    state = module.weight.quant_state
    absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
    generic = _dequantize_4bit_compute(module.weight.data.reshape(-1), absmax, state.code, state.blocksize, state.shape, state.dtype)
    assert generic.shape == value.shape and (value.shape[-1] % state.blocksize or torch.equal(generic, value))
    return generic.contiguous()


def write_bitsandbytes(base, out, options):
    model = AutoModelForCausalLM.from_pretrained(base, quantization_config=BitsAndBytesConfig(**options), dtype=torch.bfloat16, device_map="cpu")
    model.save_pretrained(out)
    values = {}
    for name, module in model.named_modules():
        if hasattr(module, "weight") and type(module.weight).__name__ in ("Params4bit", "Int8Params"):
            values[name + ".weight"] = dequantize_bitsandbytes(module)
    save_file(values, out + ".dequantised.safetensors")


class Quantizer:
    """What the operations of transformers read of their quantizer."""

    def __init__(self, **fields):
        self.quantization_config = type("Config", (), dict(weight_block_size=None, scale_fmt="float", **{}))()
        vars(self.quantization_config).update(fields)


def is_linear(name, value):
    return name.endswith("_proj.weight") or name.endswith(("linear_x.weight", "linear_y.weight", "linear_out.weight"))


def write_float8(base, out, name, block):
    with open(base + "/config.json") as f:
        config = json.load(f)
    state, values = {}, {}
    for key, value in load_file(base + "/model.safetensors").items():
        if not is_linear(key, value):
            state[key] = value
            continue
        if name == "fp8-rows":
            scale = value.float().abs().amax(dim=1, keepdim=True) / 448
            state[key], state[key + "_scale"] = (value.float() / scale).to(torch.float8_e4m3fn), scale
            values[key] = state[key].float() * scale
            continue
        quantizer = Quantizer(weight_block_size=block if name == "fp8-blocks" else None)
        made = Fp8Quantize(quantizer).convert({key: value.float()})
        state.update(made)
        values[key] = Fp8Dequantize(quantizer)._dequantize_one(made[key], made[key + "_scale_inv"], torch.float32)
    if name == "fp8-rows":
        config["quantization_config"] = dict(quant_method="compressed-tensors", format="float-quantized", quantization_status="compressed",
                                             ignore=["lm_head"], config_groups={"group_0": dict(targets=["Linear"], weights=dict(
                                                 num_bits=8, type="float", strategy="channel", symmetric=True, dynamic=False))})
    else:
        config["quantization_config"] = dict(quant_method="fp8", activation_scheme="dynamic", modules_to_not_convert=["lm_head"],
                                             weight_block_size=list(block) if name == "fp8-blocks" else None)
    os.makedirs(out)
    save_file(state, out + "/model.safetensors", metadata={"format": "pt"})
    save_file(values, out + ".dequantised.safetensors")
    with open(out + "/config.json", "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def write(base, out, block, copies=COPIES):
    for name in copies:
        shutil.rmtree(f"{out}/{name}", ignore_errors=True)
        if name in BITSANDBYTES:
            write_bitsandbytes(base, f"{out}/{name}", BITSANDBYTES[name])
        else:
            write_float8(base, f"{out}/{name}", name, block)
