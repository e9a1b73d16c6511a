"""A batch run: a single recording is classified here, many or resumable ones as a ``job``."""

import sys
import time
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice

from earful.models.bundle.event_options import check_labels
from earful.service.batch.formats import text_writer
from earful.service.batch.inputs import Input, find_inputs
from earful.service.batch.request import BatchOutcome, BatchProgress, BatchRequest
from earful.service.batch.settled_rows import RunStats, classify_rows
from earful.service.classifier import Classifier
from earful.service.core.echo import ResultStream


def run(request: BatchRequest, progress: BatchProgress | None = None) -> BatchOutcome:
    """Classify all inputs. Results appear complete or not at all; an interrupted run can continue.

        a single recording to standard output   run -> classify_rows -> a row
        others                                  run -> Job -> workers -> classify_rows -> rows

    Raises:
        BatchError: there is no input, or the run cannot start or continue.
        EarfulError: the model, a list of inputs or the output path is unusable.
    """
    started = time.monotonic()
    progress = progress or BatchProgress()
    if request.results is not None:
        from earful.service.batch.output_folder import check_output

        check_output(request.results, request.format_name, request.paths)
    classifier = Classifier.open(request.model, request.device, reject=request.reject)
    options = request.options
    check_labels(options.for_events(), classifier.labels)
    options = replace(options, top_k=min(options.top_k, len(classifier.labels)))
    request = replace(request, options=options)
    inputs = find_inputs(request.paths, request.csv_options)
    if request.results is None:
        first = list(islice(inputs, 2))
        if len(first) == 1:
            stats = _classify_one(request, classifier, first[0], progress)
            return BatchOutcome(stats, None, seconds=time.monotonic() - started)
        inputs = chain(first, inputs)
    from earful.service.batch.job import Job

    with closing(Job(request, classifier, progress)) as job:
        return replace(job.finish(inputs), seconds=time.monotonic() - started)


def _classify_one(
    request: BatchRequest, classifier: Classifier, source: Input, progress: BatchProgress
) -> RunStats:
    """Write the rows of the only input to standard output."""
    progress.on_start(1, 0)
    layout = request.layout(classifier, expected=bool(source.expected))
    writer = text_writer(ResultStream(sys.stdout), layout)
    stats = classify_rows(classifier, [source], request.options, writer.write)
    progress.on_progress(stats, 0, 0.0)
    sys.stdout.flush()  # here, where Typer still handles a closed pipe (`| head`)
    return stats
