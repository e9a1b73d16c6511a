"""``earful models``: versions of a model, which of them serves, and the way back."""

import json
from pathlib import Path
from typing import Annotated

import typer

from earful.data.errors import EarfulError, UsageError, command, did_you_mean_path
from earful.models.registry.records import CHALLENGER
from earful.models.registry.registry import Registry
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.commands.next_steps import print_message, print_next
from earful.service.commands.options import EXIT_SOME_FAILED, RegistryOption
from earful.service.core.echo import echo
from earful.training.commands.options import JsonOption

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]
ReasonOption = Annotated[str, typer.Option(help="Reason, for the log.")]
_REFERENCE = "NAME, NAME@ALIAS or NAME@NUMBER."

models_app = typer.Typer(
    name="models",
    no_args_is_help=True,
    help="List, register, promote and roll back model versions.",
)


@models_app.command("list")
def list_models(registry: RegistryOption = DEFAULT_REGISTRY, as_json: JsonOption = False) -> None:
    """List all models, their versions and aliases."""
    from earful.training.releases.version_text import format_versions, version_rows

    model_registry = Registry(registry)
    rows = [row for name in model_registry.names() for row in version_rows(model_registry, name)]
    if as_json:
        echo(json.dumps(rows, indent=2))
    elif rows:
        echo(format_versions(rows))
    else:
        echo(
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
    """Show a model with its log, or a version with its card."""
    from earful.training.releases.version_text import format_model, format_version, model_json

    model_registry = Registry(registry)
    model, _, version_or_alias = name.partition("@")
    if as_json:
        echo(
            json.dumps(
                model_json(model_registry, model, version_or_alias), indent=2, ensure_ascii=False
            )
        )
        return
    echo(
        format_version(model_registry, model, version_or_alias)
        if version_or_alias
        else format_model(model_registry, model)
    )


@models_app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help=_REFERENCE)],
    second: Annotated[str, typer.Argument(metavar="B", help=_REFERENCE)],
    registry: RegistryOption = DEFAULT_REGISTRY,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two versions: metrics, labels, data, network."""
    from earful.training.releases.version_diff import diff_versions

    difference = diff_versions(Registry(registry), first, second)
    echo(
        json.dumps(difference.to_dict(), indent=2, ensure_ascii=False)
        if as_json
        else difference.text()
    )


@models_app.command()
def register(
    name: NameArgument,
    source: Annotated[Path, typer.Argument(metavar="RUN|MODEL", help="Run folder or ONNX file.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="Dataset that it was trained on, needed to retrain it. (default: that of the run)",
        ),
    ] = None,
    extra: Annotated[
        Path | None, typer.Option(metavar="DATASET", help="Its dataset of `train --extra`.")
    ] = None,
    note: Annotated[str, typer.Option(help="For the model card and the log.")] = "",
    promote_it: Annotated[
        bool, typer.Option("--promote", help="Make it champion; the first version always is.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Register a run with its dataset, or a model file, as a new version."""
    from earful.models.registry.records import CHAMPION
    from earful.training.releases.register import register, trained_with_negatives
    from earful.training.releases.retraining_obstacle import retraining_obstacle

    if not source.exists():
        raise EarfulError(
            f"there is no run or model file {source}{did_you_mean_path(source)}; give the folder "
            "of `earful train --out`, or the file of `earful export --out`"
        )
    model_registry = Registry(registry)
    alias = CHAMPION if promote_it else None
    registered = register(
        model_registry, name, source, data=data, extra=extra, note=note, alias=alias
    )
    version = registered.version
    if trained_with_negatives(model_registry, name, version):
        echo(
            "note: it was trained with --negatives, which retraining does not use; check --reject "
            "afterwards with `earful evaluate --negatives`",
            err=True,
        )
    if registered.data is not None:
        print_message(f"with the data of {registered.data}")
    if registered.reason:
        print_message(f"note: {registered.reason}")
    if obstacle := retraining_obstacle(model_registry, name, version):
        print_message(f"note: {obstacle}")
    role = ", ".join(model_registry.aliases(name).names_of(version.number)) or "no alias"
    echo(f"{name}@{version.number} ({role}) in {registry}")
    place = () if registry == DEFAULT_REGISTRY else ("--registry", registry)
    if CHAMPION in role:
        print_next(("serve", "--model", name, *place))
    else:
        print_next(("models", "promote", name, version.number, *place))


@models_app.command()
def promote(
    name: NameArgument,
    version: Annotated[str, typer.Argument(help="Number or alias of the version.")] = CHALLENGER,
    reason: ReasonOption = "",
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Make a version champion; services that serve the name load it within two seconds."""
    from earful.training.retraining.gate_report import gate_failures

    if "@" in name:
        model, _, wanted = name.partition("@")
        right = command("models", "promote", model, wanted)
        raise UsageError(f"the version is a word of its own: {right}")
    model_registry = Registry(registry)
    promoted = model_registry.promote(name, version, reason)
    for failure in gate_failures(model_registry, name, promoted):
        print_message(f"note: the gate had not promoted it: {failure}")
    echo(f"{name}@{promoted.number} is champion")


@models_app.command()
def rollback(
    name: NameArgument, reason: ReasonOption = "", registry: RegistryOption = DEFAULT_REGISTRY
) -> None:
    """Make the previous champion the champion again."""
    restored = Registry(registry).rollback(name, reason)
    echo(f"{name}@{restored.number} is champion again")


@models_app.command()
def prune(
    name: NameArgument,
    keep: Annotated[int, typer.Option(min=0, help="Number of newest versions to keep.")] = 5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be deleted.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Delete old versions, except those with an alias and the previous champion."""
    model_registry = Registry(registry)
    removed = model_registry.prunable(name, keep) if dry_run else model_registry.prune(name, keep)
    verb = "would delete" if dry_run else "deleted"
    numbers = ", ".join(f"{name}@{version.number}" for version in removed)
    echo(f"{verb} {numbers}" if removed else "nothing to delete")


@models_app.command("mlflow")
def to_mlflow(
    name: NameArgument,
    server: Annotated[
        str, typer.Option(metavar="URL", envvar="MLFLOW_TRACKING_URI", help="MLflow server.")
    ],
    registry: RegistryOption = DEFAULT_REGISTRY,
) -> None:
    """Copy versions and aliases to an MLflow server."""
    from earful.training.releases.mlflow_export import export_model

    exported = export_model(Registry(registry), name, server)
    sent = ", ".join(
        f"{name}@{version} as version {mlflow_version}"
        for version, mlflow_version in exported.sent.items()
    )
    aliases = ", ".join(f"{alias} is version {n}" for alias, n in exported.aliases.items())
    echo(f"sent {sent or 'nothing: the server has all versions'}; {aliases}")
