"""Which operations a TFLite file needs."""

from collections import Counter


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
