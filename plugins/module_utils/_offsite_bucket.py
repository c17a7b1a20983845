# Copyright (c) 2026, the nexanest.database authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 bucket through boto3: only the requests that every S3-compatible service knows, each failure as one sentence.

Keys are relative to the prefix. Nothing of the machine's own AWS settings (environment, profiles, instance roles) is used.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from ansible_collections.nexanest.database.plugins.module_utils._offsite_place import Place

try:
    import boto3.session
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        EndpointConnectionError,
        ProxyConnectionError,
        SSLError,
    )
except ImportError:
    HAS_BOTO = False
    CONNECTION: tuple[type[Exception], ...] = ()
else:
    HAS_BOTO = True
    CONNECTION = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)

MISSING = f"boto3 is missing for {sys.executable}: for Debian's Python make db-start installs it (python3-boto3), for another pip install boto3"
# Requests at once, each with one part of a file in memory.
WORKERS = 4
# What the service may take to answer.
CONNECT_SECONDS, ANSWER_SECONDS, ATTEMPTS = 10, 60, 4
# A manifest is a few hundred kilobytes; what is larger is none.
DOCUMENT_BYTES = 64 * 2**20
_KEY = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "AuthFailure", "ExpiredToken", "InvalidToken", "Forbidden", "403")
_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301")
_ABSENT = ("NoSuchKey", "NotFound", "404", "NoSuchUpload")


class BucketError(Exception):
    """The bucket cannot be used; the text says why and what to do."""


class Gone(BucketError):
    """The service answers, and has no object of this key."""


@dataclass(frozen=True)
class Object:
    """An object of the listing."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun and neither completed nor aborted."""

    key: str
    id: str
    begun: datetime


@dataclass(frozen=True)
class Head:
    """What the service says about one object. marks: what was noted with it when it was sent."""

    bytes: int
    marks: Mapping[str, str]


class Bucket:
    """One bucket below one prefix. It can be used by several threads."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.place = Place.of(params)
        self._checksums = bool(params["checksums"])
        if params["ca_bundle"] and not Path(params["ca_bundle"]).is_file():
            raise BucketError(f"ca_bundle names {params['ca_bundle']}, which is no file on the managed host: correct it")
        try:
            self._client = _client(params)
        except (BotoCoreError, ValueError) as error:
            raise BucketError(f"the bucket's address cannot be used ({_short(error)}): check endpoint_url and region") from error

    def objects(self, below: str = "") -> list[Object]:
        """All objects whose key begins so."""
        with self._told("listing the bucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.place.bucket, Prefix=self.place.root + below)
            found = [item for page in pages for item in page.get("Contents", ())]
        return [Object(self._relative(item["Key"]), int(item["Size"]), item["LastModified"]) for item in found]

    def uploads(self) -> list[Upload]:
        """Uploads in parts that have not ended."""
        with self._told("listing unfinished uploads"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.place.bucket, Prefix=self.place.root)
            found = [item for page in pages for item in page.get("Uploads", ())]
        return [Upload(self._relative(item["Key"]), item["UploadId"], item["Initiated"]) for item in found]

    def head(self, key: str) -> Head | None:
        """One object; None where there is none."""
        with self._told(f"looking at {key}"):
            try:
                answer = self._client.head_object(**self._named(key))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return Head(int(answer["ContentLength"]), _marks(answer))

    def document(self, key: str) -> bytes:
        """A small object as a whole."""
        return self.marked(key)[0]

    def marked(self, key: str) -> tuple[bytes, Mapping[str, str]]:
        """A small object, and what was noted with it when it was sent. One answer has both: of one that is replaced meanwhile they belong together."""
        with self._answered(key) as answer:
            if (size := _length(answer)) > DOCUMENT_BYTES:
                raise BucketError(f"{key} in {self.place.text} has {size} bytes, too many for a manifest")
            return bytes(answer["Body"].read()), _marks(answer)

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[tuple[IO[bytes], int]]:
        """The bytes of an object as a stream, and how many the service says they are."""
        with self._answered(key) as answer:
            yield answer["Body"], _length(answer)

    def put(self, key: str, body: bytes, marks: Mapping[str, str]) -> None:
        """A whole object in one request; the service compares what arrives with a checksum."""
        with self._told(f"writing {key}"):
            self._client.put_object(**self._named(key), Body=body, Metadata=dict(marks), **self._checked(body))

    def begin(self, key: str, marks: Mapping[str, str]) -> str:
        """Begin an object in parts. Returns the upload's name."""
        algorithm = {"ChecksumAlgorithm": "SHA256"} if self._checksums else {}
        with self._told(f"writing {key}"):
            answer = self._client.create_multipart_upload(**self._named(key), Metadata=dict(marks), **algorithm)
        return str(answer["UploadId"])

    def part(self, key: str, upload: str, number: int, body: bytes) -> dict[str, Any]:
        """One part; what is returned belongs into complete()."""
        checked = self._checked(body)
        with self._told(f"writing part {number} of {key}"):
            answer = self._client.upload_part(**self._named(key), UploadId=upload, PartNumber=number, Body=body, **checked)
        return {"PartNumber": number, "ETag": answer["ETag"], **checked}

    def complete(self, key: str, upload: str, parts: Sequence[Mapping[str, Any]]) -> None:
        """The object is there from now on."""
        with self._told(f"completing {key}"):
            self._client.complete_multipart_upload(**self._named(key), UploadId=upload, MultipartUpload={"Parts": list(parts)})

    def abort(self, key: str, upload: str) -> None:
        """Forget an unfinished upload; one that is gone is no error."""
        with self._told(f"aborting the upload of {key}"):
            try:
                self._client.abort_multipart_upload(**self._named(key), UploadId=upload)
            except ClientError as error:
                if _code(error) not in _ABSENT:
                    raise

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone is no error."""
        with self._told(f"removing {key}"):
            self._client.delete_object(**self._named(key))

    @contextlib.contextmanager
    def _answered(self, key: str) -> Iterator[Mapping[str, Any]]:
        with self._told(f"reading {key}"):
            answer = self._client.get_object(**self._named(key))
            with contextlib.closing(answer["Body"]):
                yield answer

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self.place.bucket, "Key": self.place.root + key}

    def _relative(self, key: str) -> str:
        return key.removeprefix(self.place.root)

    def _checked(self, body: bytes) -> dict[str, str]:
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(body).digest()).decode()} if self._checksums else {}

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise (Gone if _code(error) == "NoSuchKey" else BucketError)(self._refusal(what, error)) from error
        except SSLError as error:
            remedy = "check endpoint_url, and where the service has a certificate of its own, name its authority's file in ca_bundle"
            raise BucketError(f"{self.place.server} cannot be reached by TLS ({_short(error)}): {remedy}") from error
        except CONNECTION as error:
            raise BucketError(f"{self.place.server} cannot be reached ({_short(error)}): check endpoint_url and the network") from error
        except BotoCoreError as error:
            raise BucketError(f"{what} in {self.place.text} failed ({_short(error)}): run this again") from error

    def _refusal(self, what: str, error: Any) -> str:
        code = _code(error)
        said = f"{code}: {str(error.response.get('Error', {}).get('Message', '')).rstrip('.')}".rstrip(": ")
        if code == "NoSuchBucket":
            return f"there is no bucket '{self.place.bucket}' at {self.place.server}: make it, or name another one"
        if code in _KEY:
            return f"{self.place.server} refuses the access key for {what} in the bucket '{self.place.bucket}' ({said}): check both keys and what they may do"
        if code in _REGION:
            return f"the bucket '{self.place.bucket}' is in another region than the one that was named ({said}): correct region or endpoint_url"
        if code == "RequestTimeTooSkewed":
            return f"{self.place.server} refuses requests of this machine, whose clock is wrong: set it right"
        if code == "NoSuchKey":
            return f"{what} in {self.place.text} failed: it is gone"
        return f"{what} in {self.place.text} failed ({said})"


def bucket_of(params: Mapping[str, Any]) -> Bucket:
    """For options that need not name one (_offsite_options.OPTIONAL); a BucketError as well where something to reach it with is missing."""
    if not HAS_BOTO:
        raise BucketError(MISSING)
    if not params["access_key"] or not params["secret_key"]:
        raise BucketError(f"the bucket '{params['bucket']}' needs access_key and secret_key: name both")
    return Bucket(params)


def _client(params: Mapping[str, Any]) -> Any:
    """A client of these options alone."""
    _forget_surroundings()
    style = params["addressing"]
    if style == "auto" and params["endpoint_url"]:
        style = "path"  # a bucket's name before the host's needs names and certificates that few services have
    options = {
        "signature_version": "s3v4",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": ANSWER_SECONDS,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        "max_pool_connections": WORKERS,
        # Without S3's own checksums the signature holds the SHA-256 of what is sent.
        "s3": {"addressing_style": style, "payload_signing_enabled": not params["checksums"]},
    }
    try:
        # New versions add checksums of their own to every request, which other services than AWS refuse.
        config = Config(**options, request_checksum_calculation="when_required", response_checksum_validation="when_required")
    except TypeError:
        config = Config(**options)
    return boto3.session.Session().client(
        "s3",
        region_name=params["region"],
        endpoint_url=params["endpoint_url"] or None,
        aws_access_key_id=params["access_key"],
        aws_secret_access_key=params["secret_key"],
        verify=params["ca_bundle"] or True,
        config=config,
    )


def _forget_surroundings() -> None:
    """A profile of the user who runs this must not change where the copies go."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true")


def _length(answer: Mapping[str, Any]) -> int:
    return int(answer.get("ContentLength", -1))


def _marks(answer: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def _code(error: Any) -> str:
    found = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    return status if found in ("", "Unknown") else found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
