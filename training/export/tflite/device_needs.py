"""What a TFLite file needs of a small device: operations, and memory in TFLite Micro."""

import re
from collections import Counter

from earful.training.export.tflite.native_output import capture_native_output

# More than any of the networks needs; TFLite Micro says how much of it was used.
_ARENA_BYTES = 1 << 26
_ARENA_USED = re.compile(r"Arena allocation total (\d+) bytes")
_MISSING_OPERATION = re.compile(r"Didn't find op for builtin opcode '(\w+)'")


def count_operations(content: bytes) -> dict[str, int]:
    """How often each operation is in the graph, by its name in the TFLite schema."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    names = {
        code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
    }
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    codes = (
        model.OperatorCodes(graph.Operators(number).OpcodeIndex()).BuiltinCode()
        for number in range(graph.OperatorsLength())
    )
    counts = Counter(names[code] for code in codes)
    return dict(sorted(counts.items()))


def measure_arena(content: bytes) -> int | str:
    """The memory in bytes that TFLite Micro needs beside the file, or why it cannot run it."""
    from tflite_micro.python.tflite_micro import runtime  # noqa: PLC0415

    with capture_native_output() as printed:
        try:
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA_BYTES)
            interpreter.invoke()
            interpreter.print_allocations()
        except RuntimeError as error:
            reason = str(error)
        else:
            reason = ""
    used = _ARENA_USED.search(printed[0])
    if used and not reason:
        return int(used[1])
    missing = _MISSING_OPERATION.search(printed[0])
    return f"it lacks {missing[1]}" if missing else reason or "it does not say how much it used"
