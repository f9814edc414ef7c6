"""Writes dequantise.safetensors and prints the checksums in float_test.go.

Needs the PyPI packages gguf, numpy, ml_dtypes and safetensors; gguf's numpy functions are the other implementation.
"""
import hashlib
import pathlib

import gguf
import ml_dtypes
import numpy
from safetensors.numpy import save_file

here = pathlib.Path(__file__).parent
random = numpy.random.default_rng(1)

# Random bits in every field, but finite scales: the places of the float16 fields in a block of each type.
halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
tensors = {}
for name, places in halves.items():
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (1024 // elements, size), dtype=numpy.uint8)
    for place in places:
        scales = random.normal(0, 1, len(blocks)).astype(numpy.float16)
        blocks[:, place : place + 2] = scales.view(numpy.uint8).reshape(-1, 2)
    tensors[name + ".blocks"] = blocks.reshape(-1)
    tensors[name + ".values"] = gguf.quants.dequantize(blocks.reshape(1, -1), kind).reshape(-1)
save_file(tensors, here / "dequantise.safetensors")

# Rows as weights have them, and blocks of zeros, of halves between two steps, of one large value, of the smallest numbers.
rows = random.normal(0, 0.02, (60, 32)).astype(numpy.float32)
odd = numpy.zeros((4, 32), dtype=numpy.float32)
odd[1] = (numpy.arange(32) - 15.5) * 127 / 15.5
odd[1, :16] = numpy.arange(16) - 7.5
odd[2, 7], odd[2, 8:] = -3000, numpy.linspace(-190, 190, 24)
odd[3] = numpy.arange(32) * 1e-6
rows = numpy.concatenate([rows, odd])
quantised = {"values": rows}
for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
    quantised[kind.name] = gguf.quants.quantize(rows, kind).reshape(-1)
save_file(quantised, here / "quantise.safetensors")


def checksum(name, values):
    print(name, hashlib.sha256(values.tobytes()).hexdigest())


every = numpy.arange(1 << 16, dtype=numpy.uint16)
with numpy.errstate(all="ignore"):
    wide = every.view(numpy.float16).astype(numpy.float32)
    checksum("float16 to float32, without NaN", wide[~numpy.isnan(wide)])
    spread = (numpy.arange(1 << 20, dtype=numpy.uint64) * 4097).astype(numpy.uint32).view(numpy.float32)
    spread = spread[~numpy.isnan(spread)]
    checksum("float32 to float16", spread.astype(numpy.float16))
    checksum("float32 to bfloat16", spread.astype(ml_dtypes.bfloat16))
