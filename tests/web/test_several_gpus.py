"""Jobs of several GPUs and nodes over HTTP: what may be asked for, what a run is given, whose logs are read."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from backend.database import transaction
from backend.domain.protocol import PROTOCOL_VERSION, LaunchOrder, Registration
from backend.services import nodes, shares
from backend.tables.job import Job
from tests.factories import Person, assign_jobs, build_devices, claim_job, write_attempt_file

pytestmark = pytest.mark.usefixtures("platform")

Json = dict[str, Any]


def register(name: str, count: int, *, kind: str = "h100-80g", memory_gib: int = 16, **versions: str) -> None:
    """Register a node with `count` GPUs."""
    devices = [
        device.model_copy(update={"memory_bytes": memory_gib << 30})
        for device in build_devices(count, kind=kind, name=name)
    ]
    message = Registration(
        protocol_version=PROTOCOL_VERSION,
        name=name,
        devices=devices,
        versions=versions,
        address=f"{name}.lan",
    )
    with transaction() as session:
        nodes.register(session, message)


def build_body(count: int, *, kind: str = "h100-80g", max_nodes: int | None = None, **args: Any) -> Json:
    """Return the body of a train job."""
    resources: Json = {"gpu_kind": kind, "gpu_count": count}
    return {
        "kind": "train",
        "model": "tiny",
        "datasets": ["talks"],
        "args": args,
        "resources": resources | ({"max_nodes": max_nodes} if max_nodes else {}),
    }


def list_problems(answer: Any) -> dict[str, str]:
    """Return what was refused, by place."""
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert all(error["msg_zh"] for error in errors)
    return {".".join(map(str, error["loc"])): error["msg"] for error in errors}


# -- several nodes ---------------------------------------------------------------------------------------------


def test_a_job_is_spread_only_as_far_as_it_allows(owner: Person) -> None:
    for name in ("gpu-1", "gpu-2", "gpu-3"):
        register(name, 2)
    refused = list_problems(owner.post("/jobs", json=build_body(4)))
    assert "allow 2 nodes" in refused["resources.max_nodes"]
    assert list(list_problems(owner.post("/jobs", json=build_body(6, max_nodes=2)))) == [
        "resources.max_nodes"
    ]
    assert list(list_problems(owner.post("/jobs", json=build_body(8, max_nodes=9)))) == [
        "resources.gpu_count"
    ]
    job = owner.post("/jobs", json=build_body(4, max_nodes=2)).json()
    assert job["spec"]["resources"] == {"gpu_kind": "h100-80g", "gpu_count": 4, "max_nodes": 2}
    assert owner.post("/jobs", json=build_body(2, max_nodes=2)).status_code == 201
    kinds = {kind["id"]: kind for kind in owner.get("/resources").json()["gpu_kinds"]}
    assert kinds["h100-80g"]["node_sizes"] == [2, 2, 2]


@pytest.mark.parametrize("max_nodes", [0, 65, "2", 1.5])
def test_a_strange_number_of_nodes_is_refused(owner: Person, max_nodes: Any) -> None:
    body = build_body(2)
    body["resources"]["max_nodes"] = max_nodes
    assert owner.post("/jobs", json=body).status_code == 422


def test_an_evaluation_runs_on_one_node(owner: Person) -> None:
    register("gpu-1", 2)
    body = build_body(2, max_nodes=2) | {"kind": "evaluate"}
    assert list(list_problems(owner.post("/jobs", json=body))) == ["resources.max_nodes"]


def test_each_nodes_log_is_read_by_its_rank_and_by_those_who_may(owner: Person, colleague: Person) -> None:
    for name in ("gpu-1", "gpu-2"):
        register(name, 1)
    job_id = owner.post("/jobs", json=build_body(2, max_nodes=2)).json()["id"]
    write_attempt_file(job_id, 1, "job.log", b"rank 0 says\n")
    write_attempt_file(job_id, 1, "nodes/1/job.log", b"rank 1 says\n")
    write_attempt_file(job_id, 2, "nodes/1/job.log", b"and again\n")
    assert owner.get(f"/jobs/{job_id}/logs").text == "rank 0 says\n"
    answer = owner.get(f"/jobs/{job_id}/logs", params={"node_rank": 1})
    assert (answer.text, answer.headers["X-Log-Size"]) == ("rank 1 says\nand again\n", "22")
    assert owner.get(f"/jobs/{job_id}/logs", params={"node_rank": 2}).text == ""
    assert owner.get(f"/jobs/{job_id}/logs", params={"node_rank": "../1"}).status_code == 422
    assert colleague.get(f"/jobs/{job_id}/logs", params={"node_rank": 1}).status_code == 404


# -- DeepSpeed and FSDP ----------------------------------------------------------------------------------------


def claim(job_id: str) -> LaunchOrder:
    """Assign a job and claim it on the node it came to."""
    assert assign_jobs() == 1
    with transaction() as session:
        name = nodes.find_name(session, session.get_one(Job, job_id).node_id)
    return claim_job(job_id, name or "")


@pytest.mark.parametrize(
    ("args", "files", "paths"),
    [
        ({}, [], {}),
        ({"deepspeed": "ds_z3_config.json"}, ["ds_z3_config.json"], {"deepspeed": "ds_z3_config.json"}),
        (
            {"fsdp": "full_shard auto_wrap"},
            ["fsdp_config.json"],
            {"fsdp": "full_shard auto_wrap", "fsdp_config": "fsdp_config.json"},
        ),
    ],
)
def test_a_run_is_given_what_its_yaml_names(owner: Person, args: Json, files: list[str], paths: Json) -> None:
    register("gpu-1", 2, deepspeed="0.18.4")
    job = owner.post("/jobs", json=build_body(2, **args)).json()
    config = yaml.safe_load(owner.get(f"/jobs/{job['id']}/config").text)
    assert {
        name: config.get(name) for name in ("deepspeed", "fsdp", "fsdp_config") if name in config
    } == paths
    assert list(claim(job["id"]).config_files) == files


def test_deepspeed_is_refused_where_a_node_lacks_it(owner: Person) -> None:
    register("gpu-1", 2, deepspeed="0.18.4")
    register("gpu-2", 2)
    refused = list_problems(owner.post("/estimates", json=build_body(2, deepspeed="ds_z2_config.json")))
    assert "node gpu-2; choose FSDP" in refused["args.deepspeed"]
    assert owner.post("/estimates", json=build_body(2, fsdp="full_shard auto_wrap")).status_code == 200
    register("gpu-2", 2, deepspeed="0.18.4")
    assert owner.post("/estimates", json=build_body(2, deepspeed="ds_z2_config.json")).status_code == 200


def test_the_further_node_of_a_job_gets_the_same_order(owner: Person) -> None:
    for name in ("gpu-1", "gpu-2"):
        register(name, 1, deepspeed="0.18.4")
    body = build_body(2, max_nodes=2, deepspeed="ds_z2_config.json")
    job_id = owner.post("/jobs", json=body).json()["id"]
    assert assign_jobs() == 1
    with transaction() as session:
        job = session.get_one(Job, job_id)
        (share,) = shares.list_present(session, job)
        name = nodes.find_name(session, share.node_id) or ""
        further = shares.claim(session, job_id, 1, 1, name, "1 boot")
        leader = nodes.find_name(session, job.node_id) or ""
    order = claim_job(job_id, leader)
    assert order.config_yaml == further.config_yaml
    assert (order.node_rank, further.node_rank, order.node_count) == (0, 1, 2)
