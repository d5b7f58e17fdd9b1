"""docker-compose.yml and Dockerfile without Docker: read as it reads them, their commands started by hand."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
import yaml

from backend.cli import build_parser
from backend.settings import Settings
from tests.conftest import find_free_port
from worker.main import STOP_SECONDS

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?:(?P<rule>:[-?])(?P<text>[^}]*))?\}|\$\$")

# What an administrator sets, as .env.example asks.
SECRETS = {
    "POSTGRES_PASSWORD": "postgres-secret",
    "REDIS_PASSWORD": "redis-secret",
    "TUNEFORGE_NODE_TOKEN": "n" * 48,
    "TUNEFORGE_SECRET_KEY": "s" * 48,
}


def read_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with variables filled in by Compose's rules (`:-` default, `:?` must be set, `$$` a dollar)."""

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        value = variables.get(found["name"], "")
        if value or found["rule"] is None:
            return value
        if found["rule"] == ":?":
            raise LookupError(f"{found['name']}: {found['text']}")
        return found["text"]

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: walk(value) for key, value in part.items()}
        if isinstance(part, list):
            return [walk(value) for value in part]
        return _VARIABLE.sub(fill, part) if isinstance(part, str) else part

    content: dict[str, Any] = walk(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    return content


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as Compose understands it."""
    return read_compose(SECRETS)


def _list_variables(text: str) -> set[str]:
    return {found["name"] for found in _VARIABLE.finditer(text) if found["name"]}


# -- the file ----------------------------------------------------------------------------------------------


def test_its_services_and_what_they_wait_for(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"migrate", "web", "housekeeper", "librarian", "node", "postgres", "redis"}
    for service in services.values():
        for other, wanted in service.get("depends_on", {}).items():
            condition = wanted["condition"]
            assert other in services
            assert condition != "service_healthy" or "healthcheck" in services[other]
            assert condition != "service_completed_successfully" or services[other]["restart"] == "no"
    assert (
        set(services["web"]["depends_on"])
        == set(services["housekeeper"]["depends_on"])
        == {"migrate", "redis"}
    )


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_every_secret_has_to_be_set(missing: str) -> None:
    with pytest.raises(LookupError, match=missing):
        read_compose({name: value for name, value in SECRETS.items() if name != missing})


def test_the_example_names_every_variable_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert named == _list_variables((ROOT / "docker-compose.yml").read_text())
    assert {name for name in named if f"{name}=\n" in example} >= set(SECRETS)


def test_every_variable_given_is_one_that_the_program_reads(compose: dict[str, Any]) -> None:
    known = {"DATABASE_URL", "REDIS_URL"}
    for name, described in Settings.model_fields.items():
        known.add(str(described.validation_alias or f"TUNEFORGE_{name.upper()}"))
    for service in ("migrate", "web", "housekeeper", "librarian"):
        assert set(compose["services"][service]["environment"]) <= known
    read_by_worker = set(re.findall(r"TUNEFORGE_[A-Z_]+", (ROOT / "worker" / "settings.py").read_text()))
    assert set(compose["services"]["node"]["environment"]) <= read_by_worker


def test_the_node_gets_no_secret_of_the_backend(compose: dict[str, Any]) -> None:
    environment = str(compose["services"]["node"]["environment"])
    hidden = [SECRETS[name] for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "TUNEFORGE_SECRET_KEY")]
    assert not any(secret in environment for secret in hidden)


def test_every_command_is_one_of_ours(compose: dict[str, Any]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name in ("migrate", "web", "housekeeper", "librarian", "node"):
        program, *arguments = compose["services"][name]["command"]
        assert program in scripts
        if program == "tuneforge":
            assert build_parser().parse_args(arguments).command == name


def test_stopping_leaves_jobs_the_time_to_save_and_all_see_one_home(compose: dict[str, Any]) -> None:
    services = compose["services"]
    node = services["node"]
    assert node["init"] is True
    assert int(node["stop_grace_period"].removesuffix("s")) >= STOP_SECONDS + 10
    homes = {
        (name, volume)
        for name in ("migrate", "web", "housekeeper", "librarian", "node")
        for volume in services[name]["volumes"]
        if services[name]["environment"]["TUNEFORGE_HOME"] == volume.partition(":")[2]
    }
    assert len(homes) == 5
    assert {volume for _, volume in homes} == {"home:/data"}
    assert set(compose["volumes"]) == {"home", "postgres", "redis"}


def test_redis_forgets_nothing(compose: dict[str, Any]) -> None:
    command = compose["services"]["redis"]["command"][-1]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert '--requirepass "$REDISCLI_AUTH"' in command


# -- the images --------------------------------------------------------------------------------------------


def _read_dockerfile() -> list[list[str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [[line[0].upper(), *line[1:]] for line in lines]


def test_the_images_copy_what_is_there(compose: dict[str, Any]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for instruction, *arguments in _read_dockerfile():
        if instruction != "COPY" or arguments[0].startswith("--from"):
            continue
        for source in arguments[:-1]:
            assert source in tracked or any(path.startswith(f"{source}/") for path in tracked), source
    targets = [line[-1] for line in _read_dockerfile() if line[0] == "FROM"]
    built = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    assert built <= set(targets)
    assert set(targets) >= {"frontend", "backend", "worker"}


def test_the_images_are_made_by_the_same_uv_from_the_extras_there_are() -> None:
    text = (ROOT / "Dockerfile").read_text()
    version = re.search(
        r'^VERSION = "([0-9.]+)"', (ROOT / "scripts" / "bootstrap_uv.py").read_text(), re.MULTILINE
    )
    assert version is not None
    assert f"uv=={version[1]}" in text
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    used = set(re.findall(r"--extra (\w+)", text))
    assert used == extras == {"backend", "worker", "deepspeed", "bitsandbytes"}
    assert text.count("uv sync --frozen") == text.count("uv sync")


# -- its commands, by hand ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environments(compose: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres_url: str, redis_url: str
                 ) -> Iterator[dict[str, dict[str, str]]]:  # fmt: skip
    """Each service's environment, with this machine's database, Redis, home and port in the places of Compose's."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE composed")
    home, port = tmp_path_factory.mktemp("data"), find_free_port()
    own = {
        "DATABASE_URL": postgres_url.rpartition("/")[0] + "/composed",
        "REDIS_URL": redis_url.rpartition("/")[0] + "/3",
        "TUNEFORGE_HOME": str(home),
        "TUNEFORGE_HOST": "127.0.0.1",
        "TUNEFORGE_PORT": str(port),
        "TUNEFORGE_SERVER_URL": f"http://127.0.0.1:{port}",
    }
    inherited = {"PATH": f"{BIN}:/usr/bin:/bin", "HOSTNAME": socket.gethostname(), "LC_ALL": "C.UTF-8"}
    made = {}
    for name in ("migrate", "web", "housekeeper", "librarian", "node"):
        given = {key: str(value) for key, value in compose["services"][name]["environment"].items()}
        made[name] = inherited | {key: own.get(key, value) for key, value in given.items()}
    yield made
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE composed WITH (FORCE)")


@pytest.fixture(scope="module")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands write, and from where they are started."""
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="module")
def start(
    compose: dict[str, Any], environments: dict[str, dict[str, str]], log_folder: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a service's command with its environment; what is left at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start_service(name: str, **extra: str) -> subprocess.Popen[bytes]:
        with (log_folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                compose["services"][name]["command"],
                env=environments[name] | extra,
                cwd=log_folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start_service
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _check_health(compose: dict[str, Any], environments: dict[str, dict[str, str]], name: str) -> int:
    """Run a service's health check as Docker does; its port is the one that this machine had free."""
    kind, *command = compose["services"][name]["healthcheck"]["test"]
    port = environments["web"]["TUNEFORGE_PORT"]
    command = [part.replace("127.0.0.1:8000", f"127.0.0.1:{port}") for part in command]
    if kind == "CMD-SHELL":
        command = ["/bin/sh", "-c", *command]
    done = subprocess.run(command, env=environments[name], capture_output=True, timeout=60, check=False)
    return done.returncode


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < end, "did not come up in time"
        time.sleep(0.1)


def test_its_commands_start_serve_and_stop(
    compose: dict[str, Any],
    environments: dict[str, dict[str, str]],
    start: Callable[..., subprocess.Popen[bytes]],
    log_folder: Path,
) -> None:
    assert start("migrate").wait(60) == 0
    web, housekeeper, librarian = start("web"), start("housekeeper"), start("librarian")
    address = environments["node"]["TUNEFORGE_SERVER_URL"]
    home = Path(environments["web"]["TUNEFORGE_HOME"])

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    _wait_for(answers, web)
    assert _check_health(compose, environments, "web") == 0
    node = start("node", TUNEFORGE_DEMONSTRATION="off")
    account = {"username": "admin", "password": (home / "secrets" / "admin_password").read_text().strip()}
    token = httpx.post(f"{address}/api/v1/tokens", json=account | {"name": "t"}, trust_env=False).json()[
        "token"
    ]

    def is_node_online() -> bool:
        headers = {"Authorization": f"Bearer {token}"}
        found = httpx.get(f"{address}/api/v1/admin/nodes", headers=headers, trust_env=False).json()["data"]
        return [(one["name"], one["status"]) for one in found] == [("gpu-1", "online")]

    _wait_for(is_node_online, node)
    assert _check_health(compose, environments, "housekeeper") == 0
    metrics = httpx.get(f"{address}/metrics", trust_env=False)
    assert metrics.status_code == 401
    shown = {"Authorization": f"Bearer {SECRETS['TUNEFORGE_NODE_TOKEN']}"}
    metrics = httpx.get(f"{address}/metrics", headers=shown, trust_env=False)
    assert "tuneforge_nodes_online 1" in metrics.text

    def read_checks() -> dict[str, str]:
        checks: dict[str, str] = httpx.get(f"{address}/readyz", trust_env=False).json()["checks"]
        return checks

    _wait_for(lambda: read_checks()["librarian"] == "ok", librarian)
    assert read_checks() == {
        "database": "ok",
        "redis": "ok",
        "home": "ok",
        "node": "ok",
        "librarian": "ok",
        "demonstration": "being made",
    }
    for process in (node, librarian, housekeeper, web):
        process.terminate()
    # Uvicorn ends by the signal itself once it has stopped in order.
    assert [process.wait(30) for process in (node, librarian, housekeeper, web)] == [0, 0, 0, -signal.SIGTERM]
    assert "Application shutdown complete" in (log_folder / "web.log").read_text()
    assert _check_health(compose, environments, "web") != 0


def test_the_housekeeper_comes_back_after_redis_was_away(
    environments: dict[str, dict[str, str]], start: Callable[..., subprocess.Popen[bytes]], redis_url: str
) -> None:
    """Redis closes all its clients, which is what a restart of it looks like to them."""
    assert start("migrate").wait(60) == 0
    client = redis.from_url(environments["housekeeper"]["REDIS_URL"])
    housekeeper = start("housekeeper")

    def takes_rings() -> bool:
        return bool(client.llen("housekeeper") == 0) and any(
            "BRPOP" in str(one["cmd"]).upper() for one in client.client_list()
        )

    _wait_for(takes_rings, housekeeper)
    client.client_kill_filter(_type="normal", skipme=True)
    time.sleep(1)
    _wait_for(takes_rings, housekeeper)
    housekeeper.terminate()
    assert housekeeper.wait(30) == 0
