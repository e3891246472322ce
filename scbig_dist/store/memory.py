"""What compiled loops need of the machine: memory at an address, a prefetch of it, the bits of a number."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _memory(typing_context, address):
    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), build


def _prefetch(typing_context, address):
    def build(context, builder, signature, arguments):
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        where = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(function, [where, word(0), word(3), word(1)])  # to read, into every cache, data
        return context.get_dummy_value()

    return types.void(types.int64), build


def _bits(typing_context, number):
    def build(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), build


def _number(typing_context, bits):
    def build(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), build


memory: Any = intrinsic(_memory)
"""memory(address): a pointer for `carray`."""
prefetch: Any = intrinsic(_prefetch)
"""prefetch(address): ask for the cache line there; an address that is not mapped does no harm."""
bits: Any = intrinsic(_bits)
"""bits(x): the 64 bits of a float64 as an integer."""
number: Any = intrinsic(_number)
"""number(bits): the float64 of these bits."""
