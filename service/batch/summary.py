"""What a person is told at the end of a run."""

from earful.service.batch.run import Outcome
from earful.service.batch.shards import Tally


def summary(outcome: Outcome) -> str:
    """How many inputs were classified, what failed, how fast it was, and where the results are."""
    tally = outcome.tally
    if outcome.out is None:
        return counted(tally)
    text = f"{counted(tally)}; results in {outcome.out}"
    if outcome.repeated:
        return f"nothing to do: {text}, finished before (--restart begins anew)"
    new = tally.inputs - outcome.kept
    rate = f"{new / outcome.seconds:,.0f} files/s"
    if outcome.kept:
        return f"{text}; {outcome.kept:,} were finished before, the rest at {rate}"
    speed = tally.seconds / outcome.seconds
    return f"{text}; {_duration(tally.seconds)} of audio, {rate}, {speed:,.0f} × real time"


def counted(tally: Tally) -> str:
    """5 of 7 files classified, 2 failed (1 truncated, 1 empty_audio)"""
    good = tally.inputs - tally.n_failed
    causes = sorted(tally.failed.items(), key=lambda item: (-item[1], item[0]))
    told = f" ({', '.join(f'{n:,} {code}' for code, n in causes)})" if causes else ""
    return f"{good:,} of {tally.inputs:,} files classified, {tally.n_failed:,} failed{told}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
