"""docker-compose.yml is not run here: its form and what it promises are checked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
EXAMPLE = (ROOT / ".env.example").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))


def test_its_form_is_legal():
    command = [shutil.which("check-jsonschema", path=str(Path(sys.executable).parent)) or "check-jsonschema"]
    command += ["--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_images_are_pinned_and_the_server_is_the_version_that_clients_have():
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+|\d{4}-\d{2}-\d{2}", tag), name
    assert SERVICES["mlflow"]["image"].endswith(f":{PINS['mlflow']}")
    build = SERVICES["mlflow"]["build"]["dockerfile_inline"]
    assert "-c /tmp/constraints.txt" in build
    assert re.search(r"^FROM python:3\.11\.\d+-\S+$", build, flags=re.MULTILINE)
    assert {"mlflow", "psycopg-binary", "botocore"} <= PINS.keys()
    assert (ROOT / ".dockerignore").read_text().splitlines()[-2:] == ["*", "!constraints.txt"]


def test_services_that_stay_are_healthy_before_others_need_them_and_keep_their_data():
    for name, service in SERVICES.items():
        if service["restart"] == "no":
            continue
        assert service["healthcheck"]["test"], name
        assert name == "mlflow" or service["volumes"], name
    for service in SERVICES.values():
        for other, needed in service.get("depends_on", {}).items():
            once = SERVICES[other]["restart"] == "no"
            assert needed["condition"] == ("service_completed_successfully" if once else "service_healthy")


def test_only_the_server_is_published_and_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"mlflow": ["127.0.0.1:${MLFLOW_PUBLISHED_PORT:-5000}:5000"]}


def test_secrets_come_from_the_environment_and_every_variable_is_explained():
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    explained = set(re.findall(r"^(?:# )?([A-Z0-9_]+)=", EXAMPLE, flags=re.MULTILINE))
    assert used == explained
    secrets = re.findall(r"^(\w+)=(.*)$", EXAMPLE, flags=re.MULTILINE)
    assert all(value == "" for _, value in secrets)
    # Without them, compose stops and says where to look.
    assert {name for name, _ in secrets} == set(re.findall(r"(?<!\$)\$\{(\w+):\?see \.env\.example\}", TEXT))
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
