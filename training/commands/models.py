"""``earful models``: versions of a model, which of them serves, and the way back."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError
from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.models.registry.records import CHALLENGER
from earful.models.registry.registry import Registry
from earful.service.commands.options import EXIT_SOME_FAILED, RegistryOption
from earful.training.commands.options import JsonOption

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the model.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the log.")]
_REFERENCE = "NAME, NAME@ALIAS or NAME@NUMBER."

models_app = typer.Typer(
    name="models", no_args_is_help=True, help="Released models: versions, champion, the way back."
)


@models_app.command("list")
def list_models(registry: RegistryOption = DEFAULT_REGISTRY, as_json: JsonOption = False) -> None:
    """Every model with its versions and which of them serves."""
    from earful.training.releases.version_text import listed, rows_of

    opened = Registry(registry)
    rows = [row for name in opened.names() for row in rows_of(opened, name)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        typer.echo(listed(rows))
    else:
        typer.echo(
            f"{registry} holds no model; put one there with `earful models register NAME RUN`",
            err=True,
        )
    if any("error" in row for row in rows):
        raise typer.Exit(EXIT_SOME_FAILED)


@models_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_REFERENCE)],
    registry: RegistryOption = DEFAULT_REGISTRY,
    as_json: JsonOption = False,
) -> None:
    """One model with its log, or one version with its card."""
    from earful.training.releases.version_text import described, described_version, facts_of

    opened = Registry(registry)
    model, _, version_or_alias = name.partition("@")
    if as_json:
        typer.echo(json.dumps(facts_of(opened, model, version_or_alias), indent=2, ensure_ascii=False))
        return
    typer.echo(described_version(opened, model, version_or_alias) if version_or_alias else described(opened, model))


@models_app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help=_REFERENCE)],
    second: Annotated[str, typer.Argument(metavar="B", help=_REFERENCE)],
    registry: RegistryOption = DEFAULT_REGISTRY,
    as_json: JsonOption = False,
) -> None:
    """What differs between two versions: figures, labels, data, network."""
    from earful.training.releases.version_diff import compare

    found = compare(Registry(registry), first, second)
    typer.echo(
        json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found.text()
    )


@models_app.command()
def register(
    name: NameArgument,
    source: Annotated[Path, typer.Argument(metavar="RUN|MODEL", help="Run folder or ONNX file.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="That it was trained on: so it can be retrained."),
    ] = None,
    extra: Annotated[
        Path | None, typer.Option(metavar="DATASET", help="That it had as `train --extra`.")
    ] = None,
    note: Annotated[str, typer.Option(help="For the model card and the log.")] = "",
    promote_it: Annotated[
        bool, typer.Option("--promote", help="Make it champion, as the first one is anyway.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Put a trained run, or a model file, into the registry as a new version."""
    from earful.models.registry.records import CHAMPION
    from earful.training.releases.register import trained_with_negatives
    from earful.training.releases.register import register as register_version

    if not source.exists():
        raise EarfulError(f"{source} is neither a run nor a model file; train one first")
    opened = Registry(registry)
    version = register_version(
        opened, name, source, data=data, extra=extra, note=note,
        alias=CHAMPION if promote_it else None,
    )  # fmt: skip
    if trained_with_negatives(opened, name, version):
        typer.echo(
            "note: it was trained with --negatives, which a retraining has not: see whether --reject "
            "still refuses other words", err=True,
        )  # fmt: skip
    if data is None:
        typer.echo("note: without --data it cannot be retrained", err=True)
    role = ", ".join(opened.aliases(name).names_of(version.number)) or "no alias"
    typer.echo(f"{name}@{version.number} ({role}) in {registry}")


@models_app.command()
def promote(
    name: NameArgument,
    version: Annotated[
        str, typer.Argument(help="Its number; the challenger without it.")
    ] = CHALLENGER,
    reason: ReasonOption = "",
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Make a version champion: services that follow the name take it up within a second or two."""
    from earful.training.retraining.idempotency import reasons_against

    opened = Registry(registry)
    found = opened.promote(name, version, reason)
    for against in reasons_against(opened, name, found):
        typer.echo(f"note: it was not promoted by itself: {against}", err=True)
    typer.echo(f"{name}@{found.number} is champion")


@models_app.command()
def rollback(
    name: NameArgument, reason: ReasonOption = "", registry: RegistryOption = DEFAULT_REGISTRY
) -> None:
    """Make the champion before this one champion again."""
    found = Registry(registry).rollback(name, reason)
    typer.echo(f"{name}@{found.number} is champion again")


@models_app.command()
def prune(
    name: NameArgument,
    keep: Annotated[int, typer.Option(min=0, help="Newest versions to keep.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Delete old versions, but never one with an alias nor the champion before."""
    opened = Registry(registry)
    removed = opened.prunable(name, keep) if dry_run else opened.prune(name, keep)
    verb = "would delete" if dry_run else "deleted"
    numbers = ", ".join(f"{name}@{version.number}" for version in removed)
    typer.echo(f"{verb} {numbers}" if removed else "nothing to delete")


@models_app.command("mlflow")
def to_mlflow(
    name: NameArgument,
    server: Annotated[
        str, typer.Option(metavar="URL", envvar="MLFLOW_TRACKING_URI", help="Of the server.")
    ],
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Copy versions and aliases to an MLflow server."""
    try:
        from earful.training.releases.mlflow_export import export_model
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mlflow":
            raise
        raise EarfulError(
            "this needs mlflow-skinny; install it with: uv sync --inexact --extra mlflow"
        ) from error
    found = export_model(Registry(registry), name, server)
    sent = ", ".join(f"{name}@{ours} as version {theirs}" for ours, theirs in found.sent.items())
    aliases = ", ".join(f"{alias} is version {n}" for alias, n in found.aliases.items())
    typer.echo(f"sent {sent or 'nothing: the server has all versions'}; {aliases}")
