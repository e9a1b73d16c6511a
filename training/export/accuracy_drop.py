"""Whether INT8 costs too much accuracy."""

from earful.training.export.quantize_graph import QuantizationError
from earful.training.metrics.paired_accuracy import PairedAccuracy

_SIGNIFICANCE = 0.05


def check_accuracy_drop(found: PairedAccuracy, max_lost_points: float) -> None:
    """Refuse INT8 that loses more than so many percentage points, or significantly many clips.

    Raises:
        QuantizationError: it does.
    """
    is_significant = found.p_value < _SIGNIFICANCE
    if found.lost_points > max_lost_points or is_significant:
        advice = "" if is_significant else ", or allow more with --max-lost-points"
        raise QuantizationError(
            f"INT8 loses {found.lost_points:.2f} points of accuracy on {found.clips} validation "
            f"clips ({100 * found.float_accuracy:.2f} to {100 * found.accuracy:.2f} %, "
            f"{found.lost} lost, {found.won} won, p {found.p_value:.3f}); nothing was written. "
            f"Export without --int8{advice}"
        )
