"""What a person is told at the end of a run."""

from earful.service.batch.run import BatchOutcome
from earful.service.batch.shards import RunStats


def format_summary(outcome: BatchOutcome) -> str:
    """How many inputs were classified, what failed, how fast it was, and where the results are."""
    stats = outcome.stats
    if outcome.out is None:
        return format_counts(stats)
    text = f"{format_counts(stats)}; results in {outcome.out}"
    if outcome.already_complete:
        return f"nothing to do: {text}, finished before (--restart begins anew)"
    new = stats.inputs - outcome.n_already_done
    rate = f"{new / outcome.seconds:,.0f} files/s"
    if outcome.n_already_done:
        return f"{text}; {outcome.n_already_done:,} were finished before, the rest at {rate}"
    speed = stats.seconds / outcome.seconds
    return f"{text}; {_duration(stats.seconds)} of audio, {rate}, {speed:,.0f} × real time"


def format_counts(stats: RunStats) -> str:
    """5 of 7 files classified, 2 failed (1 truncated, 1 empty_audio)"""
    good = stats.inputs - stats.n_failed
    causes = sorted(stats.failed.items(), key=lambda item: (-item[1], item[0]))
    reasons = f" ({', '.join(f'{n:,} {code}' for code, n in causes)})" if causes else ""
    return f"{good:,} of {stats.inputs:,} files classified, {stats.n_failed:,} failed{reasons}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
