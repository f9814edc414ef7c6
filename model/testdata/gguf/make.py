"""Writes the GGUF twins of safetensors checkpoints with the PyPI packages gguf and safetensors.

tiny-tied-*.gguf are ../goldens/tiny-tied. The folder llama and llama.gguf are one random Llama layer with Llama 3.1's rotary
scaling, whose query and key rows are reordered as llama.cpp's convert_hf_to_gguf.py does it.
"""
import json
import pathlib

import gguf
import ml_dtypes  # numpy learns bfloat16
import numpy
from safetensors.numpy import load_file, save_file

here = pathlib.Path(__file__).parent
Kind = gguf.GGMLQuantizationType


def convert(path, tensors, config, kind, rows_of=lambda tensor, heads: tensor, rope_freqs=None):
    writer = gguf.GGUFWriter(path, config["model_type"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[config["model_type"].upper()], config["num_hidden_layers"])
    for name, tensor in tensors.items():
        tensor = tensor.astype(numpy.float32)
        if ".q_proj." in name:
            tensor = rows_of(tensor, config["num_attention_heads"])
        if ".k_proj." in name:
            tensor = rows_of(tensor, config["num_key_value_heads"])
        own = kind if tensor.ndim == 2 else Kind.F32
        if own == Kind.Q8_0 and tensor.shape[-1] % 32:
            own = Kind.F16
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), gguf.quants.quantize(tensor, own), raw_dtype=own)
    if rope_freqs is not None:
        writer.add_tensor("rope_freqs.weight", rope_freqs.astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


tiny = here.parent / "goldens" / "tiny-tied"
config = json.loads((tiny / "config.json").read_text())
for kind in (Kind.BF16, Kind.F16, Kind.Q8_0):
    convert(here / f"tiny-tied-{kind.name.lower()}.gguf", load_file(tiny / "model.safetensors"), config, kind)

hidden, ffn, heads, kv_heads, head_dim, vocab = 32, 64, 4, 2, 8, 64
scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64, "rope_theta": 100.0}
config = {
    "model_type": "llama", "hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": 1, "num_attention_heads": heads,
    "num_key_value_heads": kv_heads, "vocab_size": vocab, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "attention_bias": True, "rope_parameters": scaling, "dtype": "float32",
}
random = numpy.random.default_rng(2)
layer = "model.layers.0."
shapes = {
    "model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden),
    layer + "input_layernorm.weight": (hidden,), layer + "post_attention_layernorm.weight": (hidden,),
    layer + "self_attn.o_proj.weight": (hidden, heads * head_dim), layer + "self_attn.o_proj.bias": (hidden,),
    layer + "mlp.gate_proj.weight": (ffn, hidden), layer + "mlp.up_proj.weight": (ffn, hidden), layer + "mlp.down_proj.weight": (hidden, ffn),
}
for name, rows in {"q": heads * head_dim, "k": kv_heads * head_dim, "v": kv_heads * head_dim}.items():
    shapes[f"{layer}self_attn.{name}_proj.weight"] = (rows, hidden)
    shapes[f"{layer}self_attn.{name}_proj.bias"] = (rows,)
tensors = {name: random.normal(0, 1, shape).astype(numpy.float32) for name, shape in shapes.items()}


def interleave(tensor, heads):
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


# What a frequency is divided by, as Llama 3.1 defines it.
wavelength = 2 * numpy.pi * scaling["rope_theta"] ** (numpy.arange(0, head_dim, 2) / head_dim)
smooth = (64 / wavelength - 1) / (4 - 1)
divisors = numpy.where(wavelength > 64, 8, numpy.where(wavelength < 16, 1, 1 / ((1 - smooth) / 8 + smooth)))

folder = here / "llama"
folder.mkdir(exist_ok=True)
(folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
save_file(tensors, folder / "model.safetensors")
convert(here / "llama.gguf", tensors, config, Kind.F32, interleave, divisors)
