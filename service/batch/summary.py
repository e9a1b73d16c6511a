"""The summary line at the end of a run."""

from earful.service.batch.request import BatchOutcome
from earful.service.batch.settled_rows import RunStats


def format_summary(outcome: BatchOutcome) -> str:
    """The number of classified and failed inputs, the speed, and the path of the results."""
    stats = outcome.stats
    if outcome.out is None:
        return format_counts(stats)
    text = f"{format_counts(stats)}\nresults in {outcome.out}"
    if outcome.already_complete:
        return f"nothing to do: {text}, finished before (start over with --restart)"
    new = stats.inputs - outcome.n_already_done
    rate = f"{new / outcome.seconds:,.0f} files/s"
    if outcome.n_already_done:
        return f"{text}\n{outcome.n_already_done:,} were finished before, the rest at {rate}"
    speed = stats.seconds / outcome.seconds
    return f"{text}\n{_duration(stats.seconds)} of audio, {rate}, {speed:,.0f} × real time"


def format_counts(stats: RunStats) -> str:
    """The line "5 of 7 files classified, 2 failed (1 truncated, 1 empty_audio)".

    A second line has the accuracy where a list gives the correct labels.
    """
    n_classified = stats.inputs - stats.n_failed
    causes = sorted(stats.failed.items(), key=lambda item: (-item[1], item[0]))
    reasons = f" ({', '.join(f'{n:,} {code}' for code, n in causes)})" if causes else ""
    failed = f"{stats.n_failed:,} failed{reasons}"
    text = f"{n_classified:,} of {stats.inputs:,} files classified, {failed}"
    if not stats.labelled:
        return text
    accuracy = 100 * stats.correct / stats.labelled
    counts = f"{stats.correct:,} of {stats.labelled:,} labelled clips"
    return f"{text}\naccuracy {accuracy:.2f} %: {counts}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
