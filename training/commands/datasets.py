"""``earful datasets``: the public datasets that are known by their layout."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from earful.service.commands.next_steps import print_next
from earful.service.core.echo import echo
from earful.training.commands.options import JsonOption

if TYPE_CHECKING:
    from earful.data.datasets.known_dataset import KnownDataset

_WIDTH = 100


def datasets(as_json: JsonOption = False) -> None:
    """List the public datasets that prepare, check and train read as they are unpacked."""
    from earful.data.datasets.catalogue import DATASETS

    if as_json:
        rows = [
            {
                "name": dataset.name,
                "contents": dataset.contents,
                "layout": dataset.layout,
                "labels": dataset.labels_from,
                "evaluation": dataset.evaluation,
                "licence": dataset.licence,
                "link": dataset.link,
            }
            for dataset in DATASETS
        ]
        echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print_table(DATASETS)
    echo("--json adds the layouts, where labels come from, and the links", err=True)
    print_next(("prepare", "FOLDER", "--out", "DATASET"))


def _print_table(datasets: Sequence["KnownDataset"]) -> None:
    """A line or two for each dataset, of at most 100 characters."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("dataset", no_wrap=True)
    for title in ("holds", "evaluation", "licence"):
        table.add_column(title, overflow="fold")
    for dataset in datasets:
        table.add_row(dataset.name, dataset.contents, dataset.evaluation, dataset.licence)
    console = Console(width=_WIDTH, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        echo(line.rstrip())
