"""Uploads in pieces that may be cut off at any moment and go on from where the file ends."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend import storage_files, storage_uploads
from backend.database import transaction
from backend.domain.audit import Action
from backend.domain.errors import Conflict, NoRoom, NotFound, TooLarge
from backend.domain.file_names import clean_name, split_path
from backend.services import audit, spaces
from backend.services.after_commit import do_after_commit
from backend.services.files import JOBS_FOLDER
from backend.services.pages import Page, PageWish, read_page
from backend.tables.base import new_id, utc_now
from backend.tables.upload import Upload
from backend.tables.user import User

MAX_BYTES = 50 << 30
CHUNK_BYTES = 8 << 20


def begin(
    session: Session, user: User, file_name: str, size_bytes: int, purpose: str, folder: str = ""
) -> Upload:
    """Make room for a file that will arrive in pieces; refused at once when there is none."""
    name = clean_name(file_name.replace("\\", "/").rpartition("/")[2])
    parts = split_path(folder, "folder")
    if size_bytes > MAX_BYTES:
        raise TooLarge(
            f"A file may have at most {MAX_BYTES >> 30} GiB. Split it, or let an administrator allow its path.",
            zh=f"单个文件不能超过 {MAX_BYTES >> 30} GiB。请拆分，或请管理员开放服务器路径导入。",
        )
    if purpose == "file" and parts[:1] == (JOBS_FOLDER,):
        raise Conflict(
            "The folder of jobs' results cannot be written to.", zh="任务结果文件夹只读，请选择其他文件夹。"
        )
    spaces.require_room(session, user, size_bytes)
    upload = Upload(
        id=new_id(), owner_id=user.id, file_name=name, size_bytes=size_bytes, purpose=purpose,
        folder="/".join(parts), expires_at=utc_now() + spaces.get_expiry_delta(),
    )  # fmt: skip
    session.add(upload)
    session.flush()
    audit.record(
        session, Action.UPLOAD_BEGUN, user, target=(upload.id, name), size_bytes=size_bytes, purpose=purpose
    )
    return upload


def list_uploads(session: Session, user: User, page: PageWish) -> Page[Upload]:
    """Return a page of one's uploads, newest first; those that datasets were made of are left out."""
    query = select(Upload).where(Upload.owner_id == user.id, Upload.status != "used")
    return read_page(session, query, page, Upload.id)


def get_upload(session: Session, user: User, upload_id: str, *, lock: bool = False) -> Upload:
    """Return one's own upload."""
    query = select(Upload).where(Upload.id == upload_id, Upload.owner_id == user.id)
    upload = session.scalars(query.with_for_update() if lock else query).first()
    if upload is None:
        raise NotFound(
            "There is no such upload; it may have expired. Begin again.",
            zh="没有这个上传，可能已过期，请重新上传。",
        )
    return upload


def measure_received(upload: Upload) -> int:
    """Return how much of it is here."""
    return upload.size_bytes if upload.status != "receiving" else storage_uploads.measure_received(upload.id)


def append(session: Session, user: User, upload_id: str, offset: int, piece: bytes) -> Upload:
    """Add a piece; the last one completes the upload. Pieces of one upload that come at once wait for one another."""
    upload = get_upload(session, user, upload_id, lock=True)
    if upload.status != "receiving":
        if offset + len(piece) > upload.size_bytes:
            raise _refuse_offset(upload.size_bytes)
        return upload
    try:
        received = storage_uploads.append_piece(upload.id, offset, piece, upload.size_bytes)
    except storage_uploads.OffsetMismatch as error:
        raise _refuse_offset(error.received_bytes) from None
    except storage_uploads.DiskFull:
        raise NoRoom(
            "The platform's disk is full; what arrived so far is kept. Go on once there is room.",
            zh="平台磁盘已满；已上传的部分保留，待有空间后可继续。",
        ) from None
    upload.expires_at = utc_now() + spaces.get_expiry_delta()
    if received == upload.size_bytes:
        complete(session, user, upload)
    return upload


def complete(session: Session, user: User, upload: Upload) -> None:
    """Note that all is here; a file goes to where it was wanted, what is for a dataset waits for it."""
    if upload.purpose == "file":
        parts = split_path(upload.folder, "folder")
        source = storage_uploads.get_upload_path(upload.id)
        if upload.size_bytes == 0:
            storage_uploads.append_piece(upload.id, 0, b"", 0)
        upload.file_name = storage_files.take_in(user.id, parts, upload.file_name, source)
        do_after_commit(session, lambda: storage_uploads.delete_upload(upload.id))
    upload.status = "complete"


# -- an upload that comes in one go, as part of a form -----------------------------------------------------


def begin_alone(user_id: str, address: str, file_name: str, most_bytes: int) -> str:
    """Begin an upload of at most `most_bytes` in a transaction of its own; return its id."""
    with transaction() as session:
        session.info[audit.ADDRESS] = address
        user = session.get_one(User, user_id)
        return begin(session, user, file_name, most_bytes, "dataset").id


def append_alone(upload_id: str, offset: int, piece: bytes, most_bytes: int) -> int:
    """Add a piece without a transaction: nobody else knows this upload yet."""
    try:
        return storage_uploads.append_piece(upload_id, offset, piece, most_bytes)
    except storage_uploads.DiskFull:
        raise NoRoom(
            "The platform's disk is full. Ask an administrator.", zh="平台磁盘已满，请联系管理员。"
        ) from None


def complete_short(session: Session, user: User, upload_id: str, *, size_bytes: int) -> None:
    """Note that all is here, and that it is shorter than was reckoned with."""
    upload = get_upload(session, user, upload_id, lock=True)
    upload.size_bytes, upload.status = size_bytes, "complete"


def drop_unused(session: Session, user: User, upload_id: str) -> None:
    """Drop an upload of which no dataset was made, as the same form had come before."""
    upload = session.get(Upload, upload_id)
    if upload is not None and upload.status == "complete":
        delete(session, user, upload_id)


def give_back(session: Session, upload_id: str) -> None:
    """Let an upload be used again, as its import failed for something that is no fault of the file."""
    upload = session.get(Upload, upload_id)
    if upload is not None:
        upload.status, upload.expires_at = "complete", utc_now() + spaces.get_expiry_delta()


def drop_used(session: Session, upload_id: str) -> None:
    """Forget an upload whose dataset has files of its own by now, or is deleted."""
    upload = session.get(Upload, upload_id)
    if upload is not None:
        session.delete(upload)
        do_after_commit(session, lambda: storage_uploads.delete_upload(upload_id))


def _refuse_offset(received_bytes: int) -> Conflict:
    error = Conflict(
        f"The upload goes on at byte {received_bytes}.",
        zh=f"请从第 {received_bytes} 字节继续上传。",
        code="offset_mismatch",
    )
    error.more = {"received_bytes": received_bytes}
    return error


def delete(session: Session, user: User, upload_id: str) -> None:
    """Give up an upload; a file that has landed in the files space stays there."""
    upload = get_upload(session, user, upload_id, lock=True)
    if upload.status == "used":
        raise Conflict(
            "A dataset is being made of this upload; delete the dataset.",
            zh="正在用它创建数据集；如不需要，请删除该数据集。",
        )
    audit.record(session, Action.UPLOAD_DELETED, user, target=(upload.id, upload.file_name))
    session.delete(upload)
    do_after_commit(session, lambda: storage_uploads.delete_upload(upload_id))
