"""Which options of ``earful export`` go together."""

from collections.abc import Callable, Mapping

from earful.data.errors import UsageError

TARGETS = ("onnx", "web", "tflite")


def check_export_options(
    target: str, options: Mapping[str, object], spell: Callable[[str], str] = str
) -> None:
    """Refuse options that say nothing about what is exported.

    ``options`` are the values by name, of which None and False are not given; ``spell`` writes a
    name as the user did, as a flag or as an argument.

    Raises:
        UsageError: options exclude each other; the first one is named.
    """
    given = {name for name, value in options.items() if value is not None and value is not False}
    if target == "web" and "int8" in given:
        raise UsageError(
            f"{spell('int8')} writes a model file; write it first, then give that file with "
            f"{spell('target')} web"
        )
    is_tflite, is_int8 = target == "tflite", "int8" in given
    needed = {
        "web_runtime": (target == "web", f"{spell('target')} web"),
        "features_outside": (is_tflite, f"{spell('target')} tflite"),
        "max_lost_points": (is_int8, spell("int8")),
        "data": (is_int8 or is_tflite, f"{spell('int8')} and {spell('target')} tflite"),
    }
    for option, (fits, wanted) in needed.items():
        if option in given and not fits:
            raise UsageError(f"{spell(option)} is for {wanted}; leave it out, or add that")
