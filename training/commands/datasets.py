"""``earful datasets``: the public datasets that are known by their layout."""

import json

import typer

from earful.service.commands.next_steps import print_next, wrap
from earful.training.commands.options import JsonOption


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
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for dataset in DATASETS:
        typer.echo(f"{dataset.name}: {dataset.contents}")
        for title, text in (
            ("known by", dataset.layout),
            ("labels", dataset.labels_from),
            ("evaluation", dataset.evaluation),
            ("licence", dataset.licence),
            ("link", dataset.link),
        ):
            typer.echo(wrap(f"  {title:<11}{text}"))
    print_next(("prepare", "FOLDER", "--out", "DATASET"))
