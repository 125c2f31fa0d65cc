"""deploy/kubernetes.yaml: parsed, and held against itself, the settings, the image and the restricted standard."""

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from favsync.app import create_app
from favsync.http.server import DRAIN_S
from favsync.settings import Settings
from tests.deploy import dockerfile
from tests.deploy.variables import meaningless

ROOT = Path(__file__).parents[2]
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()))
BY_KIND = {document["kind"]: document for document in DOCUMENTS}
POD = BY_KIND["Deployment"]["spec"]["template"]
PODS = [POD["spec"], BY_KIND["Job"]["spec"]["template"]["spec"]]
STOP_S = 10  # within which the service ends: docs/adr/0004
[SERVICE] = POD["spec"]["containers"]


def test_everything_is_there_once_and_in_one_namespace() -> None:
    kinds = ["Namespace", "Job", "Deployment", "PodDisruptionBudget", "Service"]
    assert [document["kind"] for document in DOCUMENTS] == kinds
    assert {document["metadata"].get("namespace", "favsync") for document in DOCUMENTS} == {"favsync"}
    assert BY_KIND["Namespace"]["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.mark.parametrize("pod", PODS)
def test_its_pods_meet_the_restricted_standard(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all("secret" in volume for volume in pod["volumes"])
    for container in pod["containers"]:
        limits = container["securityContext"]
        assert limits["allowPrivilegeEscalation"] is False
        assert limits["readOnlyRootFilesystem"] is True
        assert limits["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in limits
        assert {"requests", "limits"} <= set(container["resources"])


@pytest.mark.parametrize("pod", PODS)
def test_what_its_pods_are_told_means_something(pod: dict[str, Any]) -> None:
    [container], [volume] = pod["containers"], pod["volumes"]
    [mount] = container["volumeMounts"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert not meaningless(variables)
    secrets = {value for name, value in variables.items() if name.endswith("_FILE")}
    given = [item["path"] for item in volume["secret"].get("items", [])] or ["database-url", "jwt-secret"]
    assert secrets == {f"{mount['mountPath']}/{path}" for path in given}
    assert mount["name"] == volume["name"]
    # A Service called favsync would otherwise put FAVSYNC_PORT=tcp://... into every pod.
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    last = dict(dockerfile.instructions((ROOT / "Dockerfile").read_text()))
    assert last["USER"] == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"


def test_only_the_job_migrates() -> None:
    assert {"name": "FAVSYNC_MIGRATE", "value": "false"} in SERVICE["env"]
    assert BY_KIND["Job"]["spec"]["template"]["spec"]["containers"][0]["command"] == ["favsync", "migrate"]


def test_selectors_and_ports_meet() -> None:
    labels, deployment = POD["metadata"]["labels"], BY_KIND["Deployment"]["spec"]
    [spread] = POD["spec"]["topologySpreadConstraints"]
    selectors = [deployment["selector"], BY_KIND["PodDisruptionBudget"]["spec"]["selector"], spread["labelSelector"]]
    assert [selector["matchLabels"] for selector in selectors] == [labels] * 3
    assert BY_KIND["Service"]["spec"]["selector"] == labels
    assert BY_KIND["Job"]["spec"]["template"]["metadata"]["labels"] != labels
    [port] = SERVICE["ports"]
    assert port["containerPort"] == Settings(data_dir=Path("unused")).port
    probes = [SERVICE[name]["httpGet"]["port"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {*probes, BY_KIND["Service"]["spec"]["ports"][0]["targetPort"]} == {port["name"]}
    assert BY_KIND["PodDisruptionBudget"]["spec"]["minAvailable"] < deployment["replicas"]


def test_its_probes_ask_at_doors_that_there_are() -> None:
    asked = {name: SERVICE[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    app = create_app(Settings(data_dir=Path("unused"), jwt_secret="a secret for tests, 32 bytes long"))
    doors = {resource.canonical for resource in app.router.resources()}
    assert set(asked.values()) <= doors


def test_a_pod_has_the_time_to_end() -> None:
    wait_s = int(SERVICE["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 2 * DRAIN_S < STOP_S
    assert POD["spec"]["terminationGracePeriodSeconds"] >= wait_s + STOP_S
