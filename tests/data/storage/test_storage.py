"""Files and folders of a file system and of a bucket, by the same tests; the bucket is one of a server on loopback (moto)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_pipeline.data.storage import bucket, storage_location
from fer_pipeline.data.storage.bucket import BucketLocation
from fer_pipeline.data.storage.local import LocalLocation
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.errors import ParamsError, SourceError, ToolUnavailableError

moto = pytest.importorskip("moto.server", reason="needs the development packages")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a running S3 store with the bucket `faces`."""
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "someone", "aws_secret_access_key": "only-for-this-test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket="faces")
    yield address
    server.stop()


@pytest.fixture
def s3(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "only-for-this-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": store,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StorageLocation:
    """A folder that nobody has used."""
    if request.param == "local":
        return storage_location(tmp_path / "folder")
    request.getfixturevalue("s3")
    return storage_location(f"s3://faces/{tmp_path.name}")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://faces/a b/é%#.png", BucketLocation("s3", "faces/a b/é%#.png")),
        ("s3a://faces/pictures/", BucketLocation("s3", "faces/pictures")),
        ("gs://faces", BucketLocation("gs", "faces")),
        ("pictures", LocalLocation(Path("/somewhere/pictures"))),
        ("/pictures/s3:", LocalLocation(Path("/pictures/s3:"))),
    ],
)
def test_an_address_is_a_path_or_the_uri_of_a_bucket(address: str, expected: StorageLocation) -> None:
    found = storage_location(address, Path("/somewhere"))
    assert found == expected
    assert storage_location(found.address) == found


@pytest.mark.parametrize(
    "address", ["s3://KEY:hidden@faces/x", "s3://faces/x?secret_key=hidden", "s3:///hidden", "ftp://host/hidden"]
)
def test_an_address_that_may_hold_keys_is_refused_unrepeated(address: str) -> None:
    """An address that may hold keys is refused and not repeated."""
    with pytest.raises(ParamsError, match="expected") as caught:
        storage_location(address)
    assert "hidden" not in str(caught.value)


def test_files_are_written_read_listed_and_removed(folder: StorageLocation) -> None:
    assert (folder.look(), folder.entries(), list(folder.walk())) == (None, [], [])
    folder.child("b", "deep [1]", "é *#%.png").write(b"picture")
    folder.child("b", "a.png").write(b"")
    folder.child("z.png").write(b"12345")
    folder.child(".hidden", "a.png").write(b"1")
    assert [name for name, *_ in folder.walk()] == ["z.png", "b/a.png", "b/deep [1]/é *#%.png"]
    for name, file, mark in folder.walk():
        found = file.look()
        assert found is not None
        assert (found.name, found.mark) == (name.split("/")[-1], mark)
        assert storage_location(file.address).read(100) == file.read(100)
    assert [(entry.name, entry.is_folder) for entry in folder.entries()] == [(".hidden", True), ("b", True), ("z.png", False)]
    assert folder.child("z.png").read(3) == b"123"
    folder.child("z.png").delete()
    folder.child("z.png").delete()
    assert folder.child("z.png").look() is None
    with pytest.raises(FileNotFoundError):
        folder.child("z.png").read(3)


def test_an_interrupted_write_leaves_the_file_before(folder: StorageLocation) -> None:
    """A file that is not written to its end leaves the one before."""
    folder.child("a").write(b"before")
    marks = [entry.mark for entry in folder.entries()]
    with pytest.raises(KeyboardInterrupt), folder.child("a").replaced() as file:  # noqa: PT012
        file.write_bytes(b"half")
        raise KeyboardInterrupt
    assert folder.child("a").read(100) == b"before"
    assert [entry.mark for entry in folder.entries()] == marks
    with folder.child("a").replaced() as file:
        file.write_bytes(b"after!!")
    assert folder.child("a").read(100) == b"after!!"
    assert [entry.mark for entry in folder.entries()] != marks


def test_a_large_file_comes_back_as_it_was(folder: StorageLocation) -> None:
    content = os.urandom(1_000_000) * 25  # more than one part of an upload
    folder.child("large").write(content)
    assert folder.child("large").read(len(content) + 1) == content


@pytest.mark.usefixtures("s3")
def test_a_google_bucket_is_walked_without_folder_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bucket of google is walked without its folders being told."""
    folder = storage_location(f"s3://faces/{tmp_path.name}")
    for name in ("a.png", "d/b.png", "d/.c.png", ".e/f.png"):
        folder.child(name).write(b"1")
    client = bucket._client("s3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setattr(bucket, "_client", lambda *_: client)
    assert [name for name, *_ in storage_location(f"gs://faces/{tmp_path.name}").walk()] == ["a.png", "d/b.png"]


@pytest.mark.usefixtures("s3")
def test_objects_in_a_folder_without_name_are_an_error(tmp_path: Path) -> None:
    """Objects in a folder without name and not walked for ever."""
    import boto3

    boto3.client("s3").put_object(Bucket="faces", Key=f"{tmp_path.name}//a.png", Body=b"1")
    with pytest.raises(SourceError, match="rename or remove"):
        list(storage_location(f"s3://faces/{tmp_path.name}").walk())


@pytest.mark.usefixtures("s3")
def test_a_store_that_does_not_answer_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ToolUnavailableError, match=r"s3://faces/x could not be used: .*AWS_ENDPOINT_URL") as caught:
        storage_location("s3://faces/x").look()
    assert "only-for-this-test" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_empty_and_cannot_be_written() -> None:
    """A bucket that is not there holds nothing and takes nothing."""
    assert storage_location("s3://nowhere/x").look() is None
    with pytest.raises(ToolUnavailableError, match="s3://nowhere/x could not be used"):
        storage_location("s3://nowhere/x").write(b"1")
