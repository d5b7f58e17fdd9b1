"""What the audit trail names: one stable code for each thing that somebody changes."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """Who did what, as `GET /api/v1/admin/audit` tells it; codes are added, and never renamed."""

    SESSION_STARTED = "session.started"
    SESSION_REFUSED = "session.refused"
    SESSION_ENDED = "session.ended"
    USER_REGISTERED = "user.registered"
    USER_CHANGED = "user.changed"
    USER_PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 (a code, no secret)
    API_TOKEN_CREATED = "api_token.created"  # noqa: S105
    API_TOKEN_DELETED = "api_token.deleted"  # noqa: S105
    SWANLAB_KEY_SET = "swanlab_key.set"
    SWANLAB_KEY_FORGOTTEN = "swanlab_key.forgotten"
    JOB_SUBMITTED = "job.submitted"
    JOB_RENAMED = "job.renamed"
    JOB_STOPPED = "job.stopped"
    JOB_RESUMED = "job.resumed"
    JOB_DELETED = "job.deleted"
    UPLOAD_BEGUN = "upload.begun"
    UPLOAD_DELETED = "upload.deleted"
    FILE_CHANGED = "file.changed"
    FILE_DELETED = "file.deleted"
    DATASET_CREATED = "dataset.created"
    DATASET_FETCHED = "dataset.fetched"
    DATASET_CHANGED = "dataset.changed"
    DATASET_DELETED = "dataset.deleted"
    NODE_DRAINED = "node.drained"
    NODE_RETURNED = "node.returned"
    NODE_TOKEN_ISSUED = "node_token.issued"  # noqa: S105
    NODE_TOKEN_REVOKED = "node_token.revoked"  # noqa: S105
    MODEL_ADDED = "model.added"
    MODEL_FETCHED = "model.fetched"
    MODEL_FETCH_STOPPED = "model.fetch_stopped"
    MODEL_PUBLISHED = "model.published"
    MODEL_WITHDRAWN = "model.withdrawn"
    MODEL_RENAMED = "model.renamed"
    MODEL_DELETED = "model.deleted"
