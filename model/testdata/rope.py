"""Writes rope.json: the rotary frequencies that transformers computes for configurations of every supported kind.

Needs the PyPI packages numpy and transformers. The few torch functions that transformers' modeling_rope_utils.py calls for
this are passed on to numpy, whose float32 arithmetic is the same.
"""
import json
import pathlib
import types

import numpy
import transformers.modeling_rope_utils as rope


class Array(numpy.ndarray):
    def to(self, *_, dtype=None, **__):
        return self.astype(dtype) if dtype else self


def arange(*bounds, dtype=numpy.int64, **_):
    return numpy.arange(*bounds, dtype=dtype).view(Array)


rope.torch = types.SimpleNamespace(
    arange=arange, int64=numpy.int64, float=numpy.float32, float32=numpy.float32, where=numpy.where,
    clamp=lambda a, low, high: numpy.clip(a, numpy.float32(low), numpy.float32(high)),
)
Array.__truediv__ = lambda self, other: numpy.divide(self.astype(numpy.float32), numpy.float32(other) if numpy.isscalar(other) else other)


def default(config, device=None):
    dim = config.head_dim
    return 1.0 / (config.rope_parameters["rope_theta"] ** (arange(0, dim, 2, dtype=numpy.float32) / dim)), 1.0


class Config(types.SimpleNamespace):
    def standardize_rope_params(self):
        self.rope_parameters.setdefault("original_max_position_embeddings", self.max_position_embeddings)


cases = [
    (64, 32768, {"rope_type": "default", "rope_theta": 1e6}),
    (16, 2048, {"rope_type": "default", "rope_theta": 10000.0}),
    (128, 40960, {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}),
    (128, 32768, {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768}),
    (128, 131072, {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768,
                   "beta_fast": 16, "beta_slow": 2, "truncate": False}),
    (64, 8192, {"rope_type": "yarn", "rope_theta": 1e4, "factor": 40.0, "original_max_position_embeddings": 4096,
                "mscale": 0.707, "mscale_all_dim": 1.0}),
    (64, 8192, {"rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0, "attention_factor": 1.25}),
    (64, 131072, {"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 8192}),
    (128, 131072, {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192}),
]
out = []
for head_dim, positions, parameters in cases:
    config = Config(head_dim=head_dim, hidden_size=head_dim * 2, num_attention_heads=2, max_position_embeddings=positions,
                    rope_parameters=dict(parameters))
    function = rope.ROPE_INIT_FUNCTIONS.get(parameters["rope_type"], default)
    frequencies, scale = function(config, None)
    assert frequencies.dtype == numpy.float32, frequencies.dtype
    out.append({"head_dim": head_dim, "max_position_embeddings": positions, "rope_parameters": parameters,
                "inv_freq": [float(f) for f in frequencies], "scale": scale})
text = "[\n" + ",\n".join(json.dumps(case) for case in out) + "\n]\n"
(pathlib.Path(__file__).parent / "rope.json").write_text(text)
