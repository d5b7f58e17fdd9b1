"""From a file on a laptop to a dataset that trains: imported, checked, looked at, corrected, cleaned, deleted."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from backend.database import transaction
from backend.domain.job import JobStatus
from backend.services import catalogue
from backend.tables.chore import Chore
from backend.tables.dataset import Dataset
from backend.tables.job import Job
from backend.tables.upload import Upload
from backend.tables.user import User
from tests.factories import PIXEL, Person, make_dataset, make_model, register_node
from tests.librarian.conftest import Librarian, make_talks, make_zip, send_file, wait_for_dataset, wait_until
from tests.storage.hostile_archives import HOSTILE
from tests.web.test_uploads import begin, send

pytestmark = [pytest.mark.usefixtures("librarian"), pytest.mark.timeout(600)]
Configure = Callable[[str, str], None]

GOOD = {"instruction": "你好", "input": "", "output": "世界"}


def lines(*rows: Any) -> bytes:
    """Return rows as a jsonl file."""
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def list_folders(home: Path) -> list[str]:
    """Return what lies among people's datasets."""
    return sorted(path.name for path in home.glob("users/*/datasets/*"))


def test_a_zip_with_pictures_becomes_a_dataset_of_its_owner(
    owner: Person, colleague: Person, administrator: Person, tuneforge_home: Path
) -> None:
    dataset = send_file(owner, "我的 QA.zip", make_zip(make_talks()))
    assert (dataset["status"], dataset["example_count"], dataset["usable_count"]) == ("ready", 4, 4), dataset
    assert (dataset["name"], dataset["version"], dataset["owner"]) == ("我的-QA", 1, "owner")
    assert dataset["modalities"] == ["text", "image"]
    assert dataset["mapping"]["file_name"] == "QA.json"
    assert dataset["progress"] is dataset["error"] is None
    rows = owner.get(f"/datasets/{dataset['id']}/rows", params={"offset": 2}).json()
    assert (rows["total"], rows["has_more"], len(rows["data"])) == (4, False, 2)
    assert rows["data"][0]["messages"][1]["content"] == "第 2 辆车。"
    picture = rows["data"][0]["images"][0]
    assert owner.client.get(picture, headers=owner.headers).content == PIXEL
    for other in (colleague, administrator):
        assert other.client.get(picture, headers=other.headers).status_code == 404
        assert dataset["id"] not in {one["id"] for one in other.list_all("/datasets")}
    found = owner.get(f"/datasets/{dataset['id']}/rows", params={"q": "图 3"}).json()
    assert [row["index"] for row in found["data"]] == [3]
    assert list_folders(tuneforge_home) == sorted([f".findings-{dataset['id']}.jsonl", dataset["id"]])
    assert list((tuneforge_home / "uploads").iterdir()) == []


def test_in_pieces_and_by_its_upload(owner: Person, tuneforge_home: Path) -> None:
    content = lines(GOOD, GOOD | {"output": "再见"})
    upload_id = begin(owner, len(content), "rows.jsonl").json()["id"]
    early = owner.post("/datasets", json={"upload_id": upload_id})
    assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
    send(owner, upload_id, 0, content)
    made = owner.post("/datasets", json={"upload_id": upload_id, "name": "rows"})
    assert made.status_code == 201, made.text
    again = owner.post("/datasets", json={"upload_id": upload_id})
    assert again.status_code == 409 or again.status_code == 422, "no second dataset of one upload"
    dataset = wait_for_dataset(owner, made.json()["id"])
    assert (dataset["status"], dataset["format"], dataset["example_count"]) == ("ready", "alpaca", 2)
    assert owner.get("/datasets/rows").json()["id"] == owner.get("/datasets/rows@1").json()["id"]
    with transaction() as session:
        assert session.query(Upload).count() == 0
    assert list((tuneforge_home / "uploads").iterdir()) == []


def test_broken_rows_are_named_and_a_cleaned_version_made(owner: Person) -> None:
    dataset = send_file(
        owner, "mixed.jsonl", lines(GOOD, {"instruction": "x", "output": None}, GOOD | {"input": "z"})
    )
    report = owner.get(f"/datasets/{dataset['id']}/report").json()
    assert report["example_count"] == 3
    assert report["cleaned_count"] == 2
    findings = {finding["code"]: finding for finding in report["findings"]}
    code = next(code for code, one in findings.items() if [e["line"] for e in one["examples"]] == [2])
    assert findings[code]["title_zh"]
    marked = owner.get(f"/datasets/{dataset['id']}/rows", params={"finding": code}).json()
    assert [row["index"] for row in marked["data"]] == [1]
    told = owner.get(f"/datasets/{dataset['id']}/report.csv")
    table = list(csv.DictReader(io.StringIO(told.content.decode("utf-8-sig"))))
    assert code in {row["code"] for row in table if row["line"] == "2"}
    made = owner.post(f"/datasets/{dataset['id']}/clean", headers={"Idempotency-Key": "clean-1"})
    assert (made.status_code, made.json()["version"], made.json()["status"]) == (201, 2, "importing")
    again = owner.post(f"/datasets/{dataset['id']}/clean", headers={"Idempotency-Key": "clean-1"})
    assert again.json()["id"] == made.json()["id"]
    cleaned = wait_for_dataset(owner, made.json()["id"])
    assert (cleaned["status"], cleaned["example_count"], cleaned["note"]) == ("ready", 2, "cleaned")
    assert [one["version"] for one in cleaned["versions"]] == [2, 1]
    assert [one["id"] for one in owner.list_all("/datasets") if one["name"] == "mixed"] == [cleaned["id"]]
    assert owner.get("/datasets/mixed").json()["id"] == cleaned["id"]
    assert owner.get("/datasets/mixed@1").json()["id"] == dataset["id"]
    assert owner.get("/datasets/mixed@3").status_code == 404


def test_what_is_no_dataset_says_so(owner: Person) -> None:
    dataset = send_file(owner, "a.json", b'[{"x": 1}, {"x": 2}]')
    assert dataset["status"] == "broken"
    assert dataset["error"]["detail_zh"]
    assert owner.post(f"/datasets/{dataset['id']}/clean").json()["code"] == "nothing_usable"


def test_a_mapping_is_corrected_in_place_until_a_job_uses_it(owner: Person, tuneforge_home: Path) -> None:
    dataset = send_file(
        owner, "odd.jsonl", lines({"frage": "a", "antwort": "b"}, {"frage": "c", "antwort": "d"})
    )
    entry = {
        "file_name": "odd.jsonl",
        "formatting": "alpaca",
        "columns": {"prompt": "frage", "response": "antwort"},
    }
    changed = owner.request("PUT", f"/datasets/{dataset['id']}/mapping", json=entry)
    assert (changed.status_code, changed.json()["status"]) == (200, "checking"), changed.text
    assert owner.request("PUT", f"/datasets/{dataset['id']}/mapping", json=entry).status_code == 409
    now = wait_for_dataset(owner, dataset["id"])
    assert (now["status"], now["usable_count"], now["version"]) == ("ready", 2, 1), now
    job_id = _submit(owner, tuneforge_home, "odd")
    turned = entry | {"columns": {"prompt": "antwort", "response": "frage"}}
    newer = owner.request("PUT", f"/datasets/{dataset['id']}/mapping", json=turned).json()
    assert (newer["version"], newer["id"] != dataset["id"]) == (2, True)
    now = wait_for_dataset(owner, newer["id"])
    assert (now["status"], now["mapping"]["columns"]["prompt"]) == ("ready", "antwort")
    assert owner.get("/datasets/odd@1").json()["mapping"]["columns"]["prompt"] == "frage"
    assert owner.get(f"/jobs/{job_id}").json()["spec"]["datasets"] == ["odd@1"]
    for bad in ({}, {"file_name": 5}, {"file_name": "../../x.json"}, {"script_url": "x"}, {"x": [[]]}):
        answer = owner.request("PUT", f"/datasets/{now['id']}/mapping", json=bad)
        assert answer.status_code in (200, 409, 422), answer.text
        wait_for_dataset(owner, now["id"])


def _submit(owner: Person, home: Path, *names: str) -> str:
    """Submit a job as a person does, and return its id."""
    make_model(home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    body = {"kind": "train", "model": "tiny", "datasets": list(names), "resources": {"gpu_kind": "cpu"}}
    made = owner.post("/jobs", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def test_a_job_names_the_version_and_keeps_its_dataset(owner: Person, tuneforge_home: Path) -> None:
    dataset = send_file(owner, "数据.zip", make_zip(make_talks()))
    job_id = _submit(owner, tuneforge_home, "数据")
    job = owner.get(f"/jobs/{job_id}").json()
    assert job["spec"]["datasets"] == ["数据@1"]
    config = owner.get(f"/jobs/{job_id}/config").text
    assert "dataset: 数据@1" in config
    assert "media_dir: data/数据@1" in config
    refused = owner.request("DELETE", f"/datasets/{dataset['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert refused.json()["detail_zh"]
    with transaction() as session:
        row = session.get_one(Job, job_id)
        assert row.launch["datasets"][0]["path"].endswith(dataset["id"])
        row.status = JobStatus.FAILED.value
    assert owner.request("DELETE", f"/datasets/{dataset['id']}").status_code == 204
    assert owner.get(f"/datasets/{dataset['id']}").status_code == 404
    assert list_folders(tuneforge_home) == []
    assert owner.get(f"/jobs/{job_id}").json()["spec"]["datasets"] == ["数据@1"]
    assert owner.get(f"/jobs/{job_id}/config").status_code == 200
    gone = owner.post("/jobs", json={"kind": "train", "model": "tiny", "datasets": ["数据@1"]})
    assert gone.status_code == 422


def test_a_dataset_that_is_not_ready_is_refused_by_jobs(owner: Person, tuneforge_home: Path) -> None:
    dataset = send_file(owner, "none.json", b"[]")
    assert dataset["status"] == "broken"
    make_model(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    answer = owner.post("/jobs", json={"kind": "train", "model": "tiny", "datasets": ["none"]})
    assert answer.status_code == 422
    assert any(problem["loc"] == ["datasets", 0] for problem in answer.json()["errors"])


@pytest.mark.timeout(1800)
def test_hostile_archives_fail_with_a_word_and_leave_nothing(
    owner: Person, tuneforge_home: Path, tmp_path: Path
) -> None:
    made = {}
    for case, (make, _) in HOSTILE.items():
        if "larger" in case:  # that is the quota's word, and tried below
            continue
        make(tmp_path / "a")
        answer = owner.post("/datasets", files={"file": ("a.zip", (tmp_path / "a").read_bytes())})
        assert answer.status_code == 201, (case, answer.text)
        made[case] = answer.json()["id"]
    assert len(made) >= 40
    for case, dataset_id in made.items():
        dataset = wait_for_dataset(owner, dataset_id)
        assert (dataset["status"], dataset["error"]["code"]) == ("failed", "bad_archive"), (case, dataset)
        assert HOSTILE[case][1] in dataset["error"]["detail"]
        assert dataset["error"]["detail_zh"]
        assert owner.request("DELETE", f"/datasets/{dataset_id}").status_code == 204
    assert list_folders(tuneforge_home) == []
    assert list((tuneforge_home / "uploads").iterdir()) == []


def test_an_archive_larger_than_the_quota_is_refused(owner: Person, configure: Configure) -> None:
    with transaction() as session:
        session.get_one(User, owner.id).storage_quota_bytes = 100_000
    packed = make_zip({"a.json": b"[" + b"0," * 200_000 + b"0]"})
    dataset = send_file(owner, "a.zip.gz", gzip.compress(packed))
    assert (dataset["status"], dataset["error"]["code"]) == ("failed", "quota_exceeded")


def test_what_failed_for_no_fault_of_the_file_is_tried_again(owner: Person) -> None:
    with transaction() as session:
        session.get_one(User, owner.id).storage_quota_bytes = 100_000
    packed = gzip.compress(lines(*[GOOD] * 5000))
    upload_id = begin(owner, len(packed), "a.jsonl.gz").json()["id"]
    send(owner, upload_id, 0, packed)
    failed = wait_for_dataset(owner, owner.post("/datasets", json={"upload_id": upload_id}).json()["id"])
    assert failed["error"]["code"] == "quota_exceeded"
    with transaction() as session:
        session.get_one(User, owner.id).storage_quota_bytes = None
    again = wait_for_dataset(owner, owner.post("/datasets", json={"upload_id": upload_id}).json()["id"])
    assert (again["status"], again["example_count"]) == ("ready", 5000)


def test_from_a_path_that_is_allowed_and_from_no_other(
    owner: Person, imports: Path, tmp_path: Path, configure: Configure
) -> None:
    configure("TUNEFORGE_IMPORT_ROOTS", str(imports))
    for name, content in make_talks(3).items():
        (imports / name).parent.mkdir(parents=True, exist_ok=True)
        (imports / name).write_bytes(content)
    (tmp_path / "secret.json").write_bytes(lines(GOOD))
    (imports / "out.json").unlink(missing_ok=True)
    (imports / "out.json").symlink_to(tmp_path / "secret.json")
    (imports / "linked").mkdir(exist_ok=True)
    (imports / "linked" / "a.json").unlink(missing_ok=True)
    (imports / "linked" / "a.json").symlink_to(tmp_path / "secret.json")
    made = owner.post("/datasets", json={"path": str(imports / "QA")})
    assert made.status_code == 201, made.text
    dataset = wait_for_dataset(owner, made.json()["id"])
    assert (dataset["status"], dataset["name"], dataset["example_count"]) == ("ready", "QA", 3)
    inside = owner.post("/datasets", json={"path": str(imports / "linked")})
    assert wait_for_dataset(owner, inside.json()["id"])["error"]["code"] == "bad_path"
    hostile = [str(tmp_path / "secret.json"), str(imports / "out.json"), f"{imports}/../x", "/etc/passwd", "QA", "~",
               str(imports / "nothing"), f"{imports}/QA/../../{tmp_path.name}", "/proc/self/root/etc/passwd"]  # fmt: skip
    for path in hostile:
        answer = owner.post("/datasets", json={"path": path})
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["path"]), path
    configure("TUNEFORGE_IMPORT_ROOTS", "")
    assert owner.post("/datasets", json={"path": str(imports / "QA")}).status_code == 422


def test_names_are_ones_own_and_told_apart(owner: Person, colleague: Person) -> None:
    first = send_file(owner, "rows.jsonl", lines(GOOD))
    second = send_file(owner, "rows.jsonl", lines(GOOD))
    assert [first["name"], second["name"]] == ["rows", "rows-2"]
    assert send_file(colleague, "rows.jsonl", lines(GOOD))["name"] == "rows"
    taken = owner.request("PATCH", f"/datasets/{second['id']}", json={"name": "rows"})
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    renamed = owner.request("PATCH", f"/datasets/{second['id']}", json={"name": "别名"})
    assert renamed.json()["name"] == "别名"
    for bad in ("a,b", "a/b", "a b", "..", "-a", "a@2", "x" * 101, " "):
        assert owner.request("PATCH", f"/datasets/{second['id']}", json={"name": bad}).status_code == 422, bad


def test_another_users_dataset_does_not_exist(owner: Person, colleague: Person) -> None:
    made = owner.post("/datasets", files={"file": ("a.jsonl", lines(GOOD))}).json()
    calls = [("GET", ""), ("GET", "/rows"), ("GET", "/report"), ("GET", "/report.csv"), ("GET", "/media/x.png"),
             ("GET", "/rendered?template=qwen"), ("PATCH", ""), ("PUT", "/mapping"), ("POST", "/clean"),
             ("POST", "/cancel"), ("DELETE", "")]  # fmt: skip
    for method, path in calls:
        body = {"json": {}} if method in ("PATCH", "PUT") else {}
        answer = colleague.request(method, f"/datasets/{made['id']}{path}", **body)
        assert answer.status_code == 404, (method, path, answer.text)
    wait_for_dataset(owner, made["id"])


def test_an_administrator_publishes_and_all_may_use_but_not_change(
    owner: Person, colleague: Person, administrator: Person
) -> None:
    mine = send_file(owner, "a.jsonl", lines(GOOD))
    refused = owner.request("PATCH", f"/datasets/{mine['id']}", json={"visibility": "public"})
    assert refused.json()["code"] == "administrators_only"
    made = send_file(administrator, "shared.jsonl", lines(GOOD))
    administrator.request("PATCH", f"/datasets/{made['id']}", json={"visibility": "public"})
    assert colleague.get("/datasets/shared").json()["owner"] == "chief"
    assert len(colleague.get("/datasets/shared/rows").json()["data"]) == 1
    for method, path, body in (("PATCH", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/clean", None)):
        answer = colleague.request(
            method, f"/datasets/{made['id']}{path}", **({"json": body} if body else {})
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "not_owner")


def test_a_row_is_shown_as_the_template_writes_it(owner: Person) -> None:
    dataset = send_file(owner, "a.jsonl", lines(GOOD))
    shown = owner.get(f"/datasets/{dataset['id']}/rendered", params={"template": "qwen", "index": 0}).json()
    learnt = "".join(part["text"] for part in shown["segments"] if part["learnt"])
    assert "世界" in learnt
    assert "你好" not in learnt
    assert "".join(part["text"] for part in shown["segments"]) == shown["text"]
    assert owner.get(f"/datasets/{dataset['id']}/rendered", params={"template": "no such"}).status_code == 422
    assert (
        owner.get(f"/datasets/{dataset['id']}/rendered", params={"template": "qwen", "index": 9}).status_code
        == 404
    )


def test_the_same_form_twice_under_one_key_is_one_dataset(owner: Person, tuneforge_home: Path) -> None:
    form = {"files": {"file": ("a.jsonl", lines(GOOD))}, "headers": {"Idempotency-Key": "form-1"}}
    first, second = (owner.post("/datasets", **form).json()["id"] for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert wait_for_dataset(owner, first)["status"] == "ready"
    assert list((tuneforge_home / "uploads").iterdir()) == []


FORM = "multipart/form-data; boundary=x"
FORMS: list[tuple[bytes, str]] = [
    (b"", "multipart/form-data"),
    (b"", FORM),
    (b"--x\r\n", FORM),
    (b"rubbish", FORM),
    (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.json"\r\n\r\n[', FORM),
    (b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\na\r\n--x--\r\n', FORM),
    (b'--x\r\nContent-Disposition: form-data; name="file"; filename=".."\r\n\r\na\r\n--x--\r\n',
     FORM),
]  # fmt: skip


def test_a_form_with_a_bad_or_taken_name_leaves_no_upload(owner: Person, tuneforge_home: Path) -> None:
    file = {"file": ("a.jsonl", lines(GOOD))}
    assert owner.post("/datasets", files=file, data={"name": "a,b"}).status_code == 422
    assert owner.post("/datasets", files=file, data={"name": "x" * 300}).status_code == 422
    made = owner.post("/datasets", files=file, data={"name": "taken"})
    assert owner.post("/datasets", files=file, data={"name": "taken"}).status_code == 409
    assert wait_for_dataset(owner, made.json()["id"])["status"] == "ready"
    with transaction() as session:
        assert session.query(Upload).count() == 0
    assert list((tuneforge_home / "uploads").iterdir()) == []


@pytest.mark.parametrize(("content", "kind"), FORMS)
def test_forms_that_are_none_are_refused_and_leave_nothing(
    owner: Person, tuneforge_home: Path, content: bytes, kind: str
) -> None:
    answer = owner.post("/datasets", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422, answer.text
    with transaction() as session:
        assert session.query(Upload).count() == session.query(Dataset).count() == 0
    assert not list(tuneforge_home.glob("uploads/*"))


@pytest.mark.parametrize(
    "body", [{}, {"upload_id": "x", "path": "/y"}, {"upload_id": "nothing"}, [], "x", {"hub": 1}]
)
def test_bodies_without_a_source_are_refused(owner: Person, body: Any) -> None:
    assert owner.post("/datasets", json=body).status_code == 422


def test_an_import_is_cancelled_before_and_while_it_runs(owner: Person, librarian: Librarian) -> None:
    made = owner.post("/datasets", files={"file": ("a.jsonl", lines(*[GOOD] * 300_000))}).json()
    answer = owner.post(f"/datasets/{made['id']}/cancel")
    if answer.status_code == 409:  # it was over already
        assert wait_for_dataset(owner, made["id"])["status"] == "ready"
        return
    assert answer.status_code == 202
    dataset = wait_for_dataset(owner, made["id"])
    assert (dataset["status"], dataset["error"]["code"]) in (("failed", "cancelled"), ("ready", None))

    def is_over() -> bool:
        with transaction() as session:
            return {chore.status for chore in session.query(Chore)} <= {"cancelled", "done"}

    wait_until(is_over, "the chore's last word")


def test_pictures_within_the_rows_are_shown_to_whoever_may_see_the_dataset(
    owner: Person, colleague: Person
) -> None:
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({
        "instruction": ["<image>what"] * 3, "output": ["a", "b", "c"],
        "images": pa.array([[{"bytes": PIXEL, "path": None}]] * 2 + [[{"bytes": b"<script>", "path": None}]], kind),
    })  # fmt: skip
    packed = io.BytesIO()
    parquet.write_table(table, packed)
    made = send_file(owner, "pictures.parquet", packed.getvalue())
    (finding,) = owner.get(f"/datasets/{made['id']}/report").json()["findings"]
    assert (finding["code"], finding["examples"][0]["line"]) == ("media_unreadable", 3)
    rows = owner.get(f"/datasets/{made['id']}/rows").json()["data"]
    urls = [row["images"][0].removeprefix("/api/v1") for row in rows]
    shown = owner.get(urls[1])
    assert (shown.status_code, shown.headers["content-type"], shown.content) == (200, "image/png", PIXEL)
    hostile = owner.get(urls[2])
    assert hostile.headers["content-type"] == "application/octet-stream"
    assert hostile.headers["content-security-policy"] == "sandbox"
    assert colleague.get(urls[1]).status_code == 404
    for path, status in (("5/media/images/0", 404), ("0/media/images/1", 404), ("0/media/videos/0", 404),
                         ("0/media/tools/0", 422), ("-1/media/images/0", 422), ("0/media/images/x", 422)):  # fmt: skip
        assert owner.get(f"/datasets/{made['id']}/rows/{path}").status_code == status, path
    cleaned = owner.post(f"/datasets/{made['id']}/clean").json()
    assert wait_for_dataset(owner, cleaned["id"])["usable_count"] == 2
    (row, _) = owner.get(f"/datasets/{cleaned['id']}/rows").json()["data"]
    assert owner.get(row["images"][0].removeprefix("/api/v1")).content == PIXEL


def test_what_cleaning_would_mend_is_told_apart_from_what_it_would_not(
    owner: Person, tuneforge_home: Path
) -> None:
    cut = send_file(owner, "cut.jsonl", lines(GOOD, GOOD | {"output": "x"}) + b'\n{"instruction": ')
    assert (cut["status"], cut["cleaned_count"], cut["error"]["code"]) == ("broken", 2, "cleaning_needed")
    assert "keeps 2 of 2 rows" in cut["error"]["detail"]
    make_model(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    refused = owner.post("/jobs", json={"kind": "train", "model": "tiny", "datasets": [cut["id"]]})
    assert refused.status_code == 422
    assert any("cleaned copy" in one["msg"] and "清洗" in one["msg_zh"] for one in refused.json()["errors"])
    wrong = {
        "file_name": "cut.jsonl",
        "columns": {"prompt": "instruction", "response": "output", "system": "none"},
    }
    assert owner.request("PUT", f"/datasets/{cut['id']}/mapping", json=wrong).status_code == 200
    misread = wait_for_dataset(owner, cut["id"])
    assert (misread["status"], misread["cleaned_count"], misread["error"]["code"]) == (
        "broken",
        0,
        "nothing_usable",
    )
    assert owner.post(f"/datasets/{cut['id']}/clean").status_code == 409


def test_a_described_dataset_is_looked_through_and_stays_as_described(
    owner: Person, tuneforge_home: Path
) -> None:
    folder = make_dataset(tuneforge_home, "shown", token_stats={"mean": 7})
    make_dataset(tuneforge_home, "torn", rows=3)
    (tuneforge_home / "datasets" / "torn" / "images" / "1.png").unlink()

    def discover() -> None:
        with transaction() as session:
            catalogue.discover(session)

    def is_checked(name: str) -> Any:
        found = owner.get(f"/datasets/{name}").json()
        return found if found["usable_count"] is not None else None

    discover()
    assert owner.get("/datasets/shown").json()["status"] == "ready", "it may be used meanwhile"
    shown = wait_until(lambda: is_checked("shown"), "the check")
    assert (shown["status"], shown["usable_count"], shown["token_stats"]) == ("ready", 8, {"mean": 7})
    torn = wait_until(lambda: is_checked("torn"), "the check")
    assert (torn["status"], torn["usable_count"], torn["error"]["code"]) == ("broken", 0, "cleaning_needed")
    with transaction() as session:
        before = session.query(Chore).count()
    discover()
    with transaction() as session:
        assert session.query(Chore).count() == before, "once is enough"
    described = json.loads((folder / "tuneforge.json").read_text())
    (folder / "tuneforge.json").write_text(json.dumps(described | {"description": "new"}))
    discover()
    assert wait_until(lambda: is_checked("shown"), "the second check")["usable_count"] == 8
