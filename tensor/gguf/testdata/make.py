"""Writes values.gguf with the PyPI package gguf: metadata of every type, and tensors of some."""
import pathlib

import gguf
import numpy

writer = gguf.GGUFWriter(pathlib.Path(__file__).parent / "values.gguf", "qwen2")
writer.add_custom_alignment(64)
kinds = gguf.GGUFValueType
writer.add_uint8("value.uint8", 200)
writer.add_int8("value.int8", -100)
writer.add_uint16("value.uint16", 60000)
writer.add_int16("value.int16", -30000)
writer.add_uint32("value.uint32", 4000000000)
writer.add_int32("value.int32", -2000000000)
writer.add_uint64("value.uint64", 1 << 63)
writer.add_int64("value.int64", -(1 << 62))
writer.add_float32("value.float32", 0.25)
writer.add_float64("value.float64", 1e300)
writer.add_bool("value.bool", True)
writer.add_string("value.string", "Grüße\nan 世界")
writer.add_array("list.string", ["a", "", "Ġthe", "世界"])
writer.add_array("list.int32", [1, -2, 3])
writer.add_array("list.float32", [0.5, -1.5])
writer.add_array("list.bool", [True, False])
writer.add_key_value("list.uint8", [1, 255], kinds.ARRAY, kinds.UINT8)
writer.add_key_value("list.uint32", [1, 4000000000], kinds.ARRAY, kinds.UINT32)
writer.add_key_value("list.uint64", [1, 1 << 63], kinds.ARRAY, kinds.UINT64)
writer.add_key_value("list.float64", [1e300], kinds.ARRAY, kinds.FLOAT64)
rows = numpy.arange(6 * 32, dtype=numpy.float32).reshape(6, 32) / 8 - 10
writer.add_tensor("f32", rows)
writer.add_tensor("f16", rows.astype(numpy.float16))
writer.add_tensor("cube", rows.reshape(2, 3, 32))
writer.add_tensor("vector", rows[0])
for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
    writer.add_tensor(kind.name.lower(), gguf.quants.quantize(rows, kind), raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
