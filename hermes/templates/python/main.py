"""Scales an array on the GPU, in a library that make has built from vectors.cu."""

import ctypes
import sys
from array import array
from pathlib import Path

library = ctypes.CDLL(str(Path(__file__).with_name("libvectors.so")))
library.scale.argtypes = [ctypes.c_float, ctypes.c_void_p, ctypes.c_int]
library.explain.restype = ctypes.c_char_p

count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
values = array("f", [1.5]) * count
address, length = values.buffer_info()
if status := library.scale(2.0, address, length):
    sys.exit(f"main.py: {library.explain(status).decode()}")
wrong = sum(value != 3.0 for value in values)
print(f"scaled {count} elements on the GPU: {wrong} wrong")
sys.exit(wrong > 0)
