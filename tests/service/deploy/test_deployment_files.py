"""The deployment files match the service; checked without Docker or Kubernetes."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from earful.service.batch.scheduler import find_shard
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.settings import SHUTDOWN_TIMEOUT_SECONDS, Settings
from earful.training.cli import build_app

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "service" / "deploy"
SETTINGS = {f"EARFUL_{name.upper()}" for name in Settings.model_fields}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def of_kind(kind: str) -> Any:
    [entry] = [entry for entry in KUBERNETES if entry["kind"] == kind]
    return entry


POD = of_kind("Deployment")["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


@pytest.mark.parametrize(
    "arguments",
    [CONTAINER["args"], *(service["command"] for service in COMPOSE["services"].values())],
)
def test_deployment_uses_existing_commands_and_flags(arguments: list[str]) -> None:
    result = CliRunner().invoke(build_app(), [arguments[0], "--help"], env={"COLUMNS": "200"})
    for flag in (a for a in arguments if a.startswith("--")):
        assert flag in result.output
    assert "0.0.0.0" in arguments  # noqa: S104


def test_environment_variables_are_known_settings() -> None:
    # Service links would set EARFUL_PORT, which is not a setting.
    assert POD["enableServiceLinks"] is False
    assert {entry["name"] for entry in CONTAINER["env"]} <= SETTINGS
    for service in COMPOSE["services"].values():
        assert set(service["environment"]) <= SETTINGS


def test_probes_use_existing_routes_on_the_open_port() -> None:
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/livez"
    port = CONTAINER["args"][CONTAINER["args"].index("--port") + 1]
    assert CONTAINER["ports"][0]["containerPort"] == int(port)


def test_termination_grace_period_covers_the_shutdown() -> None:
    wait = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = {e["name"]: e["value"] for e in CONTAINER["env"]}["EARFUL_DRAIN_SECONDS"]
    assert POD["terminationGracePeriodSeconds"] > wait + float(drain) + SHUTDOWN_TIMEOUT_SECONDS


def test_containers_run_with_least_privilege() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_autoscaler_and_disruption_budget_select_the_deployment() -> None:
    name = of_kind("Deployment")["metadata"]["name"]
    assert of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == name
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert of_kind("Service")["spec"]["selector"] == labels


def test_batch_job_runs_every_shard_with_least_privilege() -> None:
    [job] = yaml.safe_load_all((DEPLOY / "batch-job.yaml").read_text())
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [script] = container["args"]
    count = job["spec"]["completions"]
    assert f"--num-shards {count} " in script
    used = {word for word in script.split() if word.startswith("--")}
    known = {option for options in command_options("classify") for option in options}
    assert used <= known
    for code, expected in ((0, 0), (1, 0), (2, 2), (137, 137)):
        stub = f"earful() {{ return {code}; }}; {script}"
        assert subprocess.run(["sh", "-c", stub], check=False).returncode == expected
    environment = {"JOB_COMPLETION_INDEX": str(count - 1)}
    shard_spec, variable = find_shard(None, count, environment)
    assert (shard_spec.index, variable) == (count - 1, "JOB_COMPLETION_INDEX")
    text = (DEPLOY / "batch-job.yaml").read_text()
    assert str(shard_spec.output_path(Path("/results/results.csv"))).endswith(f"-of-{count:05}.csv")
    assert f"results-*-of-{count:05}.csv" in text
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/recordings", "/results"} <= mounted
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def command_options(name: str) -> list[list[str]]:
    group: Any = typer.main.get_command(build_app())
    command = group.get_command(typer.Context(group), name)
    return [parameter.opts for parameter in command.params]


def test_alerts_use_existing_metrics() -> None:
    metrics = ServiceMetrics()
    metrics.requests.labels("/", 200).inc()
    metrics.request_seconds.labels("/").observe(1)
    metrics.reloads.labels("done").inc()
    metrics.background_failing.labels("model_watcher").set(0)
    metrics.model_info.labels("a", "b", "c", "d").set(1)
    known = set(re.findall(r"^(earful_\w+)", metrics.text().decode(), re.MULTILINE))
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"earful_\w+", rule["expr"])}
    assert used
    assert used <= known


def test_compose_build_targets_are_dockerfile_stages() -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for service in COMPOSE["services"].values():
        assert service["build"]["args"]["VARIANT"] in stages


def test_deploy_readme_documents_every_setting_and_metric() -> None:
    page = (DEPLOY / "README.md").read_text()
    for name in SETTINGS:
        assert f"`{name}`" in page, name
    types = re.findall(r"^# TYPE (earful_\w+)", ServiceMetrics().text().decode(), re.MULTILINE)
    metrics = [name for name in types if not name.endswith("_created")]
    assert len(metrics) >= 11
    for name in metrics:
        assert f"`{name}" in page, name
