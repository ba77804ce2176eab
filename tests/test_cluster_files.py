"""What cluster/ holds: against Ray's and KubeRay's schemas, and every name in it against the code. No Ray needed."""

import ast
import functools
import json
import os
import re
import shlex
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import jsonschema
import pytest
import yaml

from emotion_ray import cli
from emotion_ray.service.access import KEY_VARIABLE
from emotion_ray.settings import ServeSettings

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
LAUNCHERS = [CLUSTER / "aws.yaml", CLUSTER / "local.yaml"]
MANIFESTS = sorted((CLUSTER / "kuberay").glob("ray*.yaml"))
TEXTS = [CLUSTER / "README.md", CLUSTER / "serve.yaml", *LAUNCHERS, *MANIFESTS, CLUSTER / "Dockerfile"]
DEFINITIONS = os.environ.get("KUBERAY_DEFINITIONS", "")
"""Folder of KubeRay's custom resource definitions, `ray.io_rayjobs.yaml` and so on; empty for none."""
COMMANDS = ("prepare", "train", "tune", "evaluate")


def each(paths: list[Path]):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def ray_cluster(manifest: dict) -> dict:
    """The cluster within a RayJob or RayService."""
    return manifest["spec"].get("rayClusterSpec") or manifest["spec"]["rayClusterConfig"]


def pods(manifest: dict) -> list[dict]:
    """The specs of its head's and its workers' pods."""
    cluster = ray_cluster(manifest)
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


@each(LAUNCHERS)
def test_a_launcher_file_is_of_rays_schema(path):
    try:
        wheel = distribution("ray")
    except PackageNotFoundError:
        pytest.skip("Ray, whose wheel holds the schema, is not installed")
    schema = json.loads(wheel.locate_file("ray/autoscaler/ray-schema.json").read_text())
    config = yaml.safe_load(path.read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "worker_nodes": {}}, schema)


@functools.cache
def definition(kind: str) -> dict:
    """KubeRay's schema of a kind, closed: it takes no key that it does not name."""
    if not DEFINITIONS:
        pytest.skip("KubeRay's definitions are not at hand: set KUBERAY_DEFINITIONS to their folder")
    path = Path(DEFINITIONS) / f"ray.io_{kind.lower()}s.yaml"
    versions = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]["versions"]
    schema = next(one for one in versions if one["name"] == "v1")["schema"]["openAPIV3Schema"]
    return {**closed(schema), "required": ["apiVersion", "kind", "metadata", "spec"]}


def closed(schema: object) -> object:
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        parts.setdefault("additionalProperties", False)
    return parts


@pytest.mark.slow
@each(MANIFESTS)
def test_a_manifest_is_of_kuberays_schema(path):
    manifest = yaml.safe_load(path.read_text())
    schema = definition(manifest["kind"])
    jsonschema.validate(manifest, schema)
    ray_cluster(manifest)["headGroupSpec"]["template"]["spec"]["containres"] = []
    with pytest.raises(jsonschema.ValidationError, match="containres"):
        jsonschema.validate(manifest, schema)


def commands(path: Path) -> list[tuple[str, list[str]]]:
    """Every call of a job or a command in a file: its name and its arguments."""
    text = re.sub(r"\\\n\s*", "", path.read_text())
    if path in MANIFESTS:  # a folded line is one
        text = yaml.safe_load(text)["spec"].get("entrypoint", "")
    calls = re.findall(rf"(?:jobs/|\bemotion-ray )({'|'.join(COMMANDS)})(?:\.py)?((?: +-[^#`\n]*)?)", text)
    return [(name, shlex.split(rest)) for name, rest in calls]


def test_commands_are_found():
    found = {(path.name, name) for path in TEXTS for name, _ in commands(path)}
    assert {("README.md", "tune"), ("rayjob-prepare.yaml", "prepare"), ("rayjob-tune.yaml", "tune")} <= found


@each(TEXTS)
def test_every_job_and_flag_exists(path, monkeypatch):
    called = []

    def watched(command):
        @functools.wraps(command)
        def stand_in(*given, **named):
            called.append(command.__name__)

        return stand_in

    for name in COMMANDS:
        monkeypatch.setattr(cli, name, watched(getattr(cli, name)))
    wanted = commands(path)
    for name, arguments in wanted:
        assert cli.main([name, *arguments]) == 0
    assert called == [name for name, _ in wanted]
    for job in re.findall(r"jobs/\w+\.py", path.read_text()):
        assert os.access(ROOT / job, os.X_OK)


def serve_configs() -> list[dict]:
    return [
        yaml.safe_load(manifest["spec"]["serveConfigV2"])
        for manifest in (yaml.safe_load(path.read_text()) for path in MANIFESTS)
        if manifest["kind"] == "RayService"
    ]


def test_every_application_can_be_imported_and_takes_its_arguments():
    applications = [one for config in serve_configs() for one in config["applications"]]
    assert applications
    for application in applications:
        assert is_defined(application["import_path"])
        assert set(application["args"]) <= {one.name for one in fields(ServeSettings)}
        ServeSettings(**{key: tuple(v) if isinstance(v, list) else v for key, v in application["args"].items()})


def test_the_service_is_the_same_everywhere():
    """But for where it listens and how much it takes on."""
    alone = yaml.safe_load((CLUSTER / "serve.yaml").read_text())
    for config in (alone, *serve_configs()):
        for options in (config["http_options"], *config["applications"]):
            for own in ("host", "args"):
                options.pop(own, None)
        assert config == alone


def is_defined(import_path: str) -> bool:
    """Whether a function `module:name` of ours is there; nothing is imported."""
    module, _, name = import_path.partition(":")
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
    return name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@each(TEXTS)
def test_every_import_path_leads_somewhere(path):
    for import_path in re.findall(r"emotion_ray(?:\.\w+)+:\w+", path.read_text()):
        assert is_defined(import_path)


def test_the_service_is_given_its_key_by_a_secret():
    services = [one for one in (yaml.safe_load(path.read_text()) for path in MANIFESTS) if one["kind"] == "RayService"]
    assert services
    for pod in (pod for service in services for pod in pods(service)):
        (variable,) = [one for one in pod["containers"][0]["env"] if one["name"] == KEY_VARIABLE]
        assert "value" not in variable
        assert variable["valueFrom"]["secretKeyRef"]


def test_every_secret_is_made_by_the_readme():
    readme = (CLUSTER / "README.md").read_text()
    wanted = set()
    for path in MANIFESTS:
        text = path.read_text()
        wanted |= {(name, "auth_token") for name in re.findall(r"secretName: ([\w-]+)", text)}
        wanted |= set(re.findall(r"secretKeyRef: \{name: ([\w-]+), key: (\w+)\}", text))
    assert len(wanted) == 2
    for name, key in wanted:
        assert re.search(rf"create secret generic {name} --from-literal={key}=\"\$\(openssl rand", readme)


@each(MANIFESTS)
def test_pods_are_restricted_limited_and_watched(path):
    manifest = yaml.safe_load(path.read_text())
    cluster = ray_cluster(manifest)
    assert cluster["authOptions"]["mode"] == "token"
    for pod in pods(manifest):
        assert pod["securityContext"]["runAsNonRoot"] is True
        container = pod["containers"][0]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert {"readinessProbe", "livenessProbe"} <= set(container)
        assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_the_namespace_lets_in_its_own_alone():
    parts = {part["kind"]: part for part in yaml.safe_load_all((CLUSTER / "kuberay" / "namespace.yaml").read_text())}
    name = parts["Namespace"]["metadata"]["name"]
    manifests = [yaml.safe_load(path.read_text()) for path in MANIFESTS]
    for one in (parts["PersistentVolumeClaim"], parts["NetworkPolicy"], *manifests):
        assert one["metadata"]["namespace"] == name
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for manifest in manifests
        for pod in pods(manifest)
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {parts["PersistentVolumeClaim"]["metadata"]["name"]}
    policy = parts["NetworkPolicy"]["spec"]
    operator = {"matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}}
    assert (policy["podSelector"], policy["policyTypes"]) == ({}, ["Ingress"])
    assert policy["ingress"] == [
        {"from": [{"podSelector": {}}, {"namespaceSelector": operator}]},
        {"ports": [{"port": 8000}]},
    ]


def test_aws_lets_in_nothing_but_ssh():
    provider = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["provider"]
    rules = provider["security_group"]["IpPermissions"]
    assert {(rule["FromPort"], rule["ToPort"]) for rule in rules} == {(22, 22)}


@each(LAUNCHERS)
def test_launched_clusters_want_the_token_and_show_no_port(path):
    config = yaml.safe_load(path.read_text())
    for start in (config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]):
        assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert any(target.endswith(".ray/auth_token") for target in config["file_mounts"])
    assert "0.0.0.0" not in path.read_text()


def test_workers_at_aws_fall_back_from_spot():
    types = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["available_node_types"]
    for kind in ("cpu", "gpu"):
        spot, other = types[f"{kind}_spot"], types[f"{kind}_on_demand"]
        assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
        assert spot["priority"] > other["priority"]
        assert {**spot, "priority": 0} == {**other, "priority": 0}, "both must do for the same work"


def test_versions_are_those_of_the_constraints():
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    for path in MANIFESTS:
        assert ray_cluster(yaml.safe_load(path.read_text()))["rayVersion"] == pinned[1]


def test_the_image_is_pinned_of_what_is_there_and_not_roots():
    lines = re.sub(r"\\\n\s*", "", (CLUSTER / "Dockerfile").read_text()).splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in line for line in installs)
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from=" not in line:
            sources = [one for one in line.split()[1:-1] if not one.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignored, "else it is not sent to the build"
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["1000:1000"]
    targets = {name: parent for parent, name in re.findall(r"FROM (\S+) AS (\S+)", "\n".join(lines))}
    assert targets["cpu"] == targets["gpu"] == "runtime", "which ends with the user"
    named = {tag for path in TEXTS for tag in re.findall(r"emotion-ray:(\w+)", path.read_text())}
    assert named == {"cpu", "gpu"}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (CLUSTER / "README.md").read_text()):
        assert (CLUSTER / target).exists()
