"""One object, two APIs: what is put over one is read, listed, changed and deleted over the other."""

import http.client
import json
import os
import time
import urllib.parse

import boto3
import botocore.config
import botocore.exceptions

from main_job import token

NAMES = ["plain", "with space", "UPPER/Case", "a//b", "dir/", "..", "ü&<>\"'", "%41%zz", "x" * 1024, "tab\there"]


class Swift:
    """Requests over one connection."""

    def __init__(self, world):
        self.url = urllib.parse.urlsplit(world.swift["storage_url"])
        self.token = token(world)

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(self.url.netloc, timeout=60)
        sent = {"X-Auth-Token": self.token, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, f"{self.url.path}{path}", body=body, headers=sent)
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer


def path(container, key):
    return f"/{container}/{urllib.parse.quote(key, safe='')}"


def run(world):
    s3 = boto3.client(
        "s3", endpoint_url=world.s3["endpoint"], aws_access_key_id=world.s3["access_key"],
        aws_secret_access_key=world.s3["secret_key"], region_name=world.s3["region"],
        config=botocore.config.Config(s3={"addressing_style": "path"}))
    swift = Swift(world)
    for container in ("both", "segments"):
        assert swift("PUT", f"/{container}").status == 201
    names(s3, swift)
    bodies(s3, swift)
    parts(s3, swift)
    static_large(s3, swift)
    dynamic_large(s3, swift)
    endings(s3, swift)
    versions(s3, swift)
    containers(s3, swift)


def names(s3, swift):
    """Every name over either API is the same key over the other."""
    for at, name in enumerate(NAMES):
        body = f"body {at}".encode()
        assert swift("PUT", path("both", name), body, X_Object_Meta_Color="blue", Content_Type="text/x").status == 201, name
        got = s3.get_object(Bucket="both", Key=name)
        assert got["Body"].read() == body and got["ContentType"] == "text/x", name
        assert got["Metadata"] == {"color": "blue"}, got["Metadata"]
        s3.put_object(Bucket="both", Key=name, Body=body * 2, Metadata={"size": "xl"}, ContentDisposition="inline")
        read = swift("GET", path("both", name))
        assert read.content == body * 2 and read.getheader("X-Object-Meta-Size") == "xl", name
        assert read.getheader("Content-Disposition") == "inline" and read.getheader("X-Object-Meta-Color") is None
    over_s3 = [row["Key"] for row in s3.list_objects_v2(Bucket="both", EncodingType="url")["Contents"]]
    over_s3 = sorted(urllib.parse.unquote(name) for name in over_s3)
    over_swift = [row["name"] for row in json.loads(swift("GET", "/both?format=json").content)]
    assert sorted(over_swift) == over_s3 == sorted(NAMES), (over_swift, over_s3)
    for name in NAMES[::2]:
        s3.delete_object(Bucket="both", Key=name)
        assert swift("GET", path("both", name)).status == 404, name
    for name in NAMES[1::2]:
        assert swift("DELETE", path("both", name)).status == 204, name
    assert s3.list_objects_v2(Bucket="both")["KeyCount"] == 0
    head = swift("HEAD", "/both")
    assert (head.getheader("X-Container-Object-Count"), head.getheader("X-Container-Bytes-Used")) == ("0", "0")


def bodies(s3, swift):
    """Sizes around the limits of inline objects and chunks; tags; ranges; posts."""
    for size in (0, 1, 4096, 4097, (4 << 20) - 1, (4 << 20) + 1):
        body = os.urandom(size)
        made = swift("PUT", path("both", "b"), body)
        got = s3.get_object(Bucket="both", Key="b")
        assert got["Body"].read() == body and got["ETag"].strip('"') == made.getheader("Etag"), size
        s3.put_object(Bucket="both", Key="b", Body=body)
        assert swift("GET", path("both", "b")).content == body, size
        if size > 10:
            assert swift("GET", path("both", "b"), Range="bytes=3-9").content == body[3:10]
    assert swift("POST", path("both", "b"), X_Object_Meta_New="1").status == 202
    assert s3.head_object(Bucket="both", Key="b")["Metadata"] == {"new": "1"}
    assert swift("COPY", path("both", "b"), Destination="both/c").status == 201
    s3.copy_object(Bucket="both", Key="d", CopySource={"Bucket": "both", "Key": "c"})
    assert swift("GET", path("both", "d")).content == body
    for name in "bcd":
        s3.delete_object(Bucket="both", Key=name)


def parts(s3, swift):
    """A multipart upload is one Swift object."""
    first, last = os.urandom(5 << 20), os.urandom(12345)
    upload = s3.create_multipart_upload(Bucket="both", Key="mp", Metadata={"via": "s3"})["UploadId"]
    done = []
    for number, body in ((1, first), (2, last)):
        part = s3.upload_part(Bucket="both", Key="mp", UploadId=upload, PartNumber=number, Body=body)
        done.append({"PartNumber": number, "ETag": part["ETag"]})
        assert swift("GET", path("both", "mp")).status == 404
    etag = s3.complete_multipart_upload(Bucket="both", Key="mp", UploadId=upload, MultipartUpload={"Parts": done})["ETag"]
    got = swift("GET", path("both", "mp"))
    assert got.content == first + last and got.getheader("Etag") == etag.strip('"')
    assert got.getheader("X-Object-Meta-Via") == "s3"
    assert swift("GET", path("both", "mp"), Range="bytes=5242879-5242881").content == (first + last)[5242879:5242882]
    row = json.loads(swift("GET", "/both?format=json").content)[0]
    assert row["bytes"] == len(first + last) and row["hash"] == etag.strip('"')
    assert swift("DELETE", path("both", "mp")).status == 204


def static_large(s3, swift):
    """A static large object is over S3 what it stands for: its bytes, ranges, parts, size and one tag everywhere."""
    pieces = [os.urandom(size) for size in (1 << 20, 5000, 70_000)]
    lines = []
    for at, piece in enumerate(pieces):
        assert swift("PUT", f"/segments/slo/{at}", piece).status == 201
        lines.append({"path": f"/segments/slo/{at}"})
    assert swift("PUT", "/both/slo?multipart-manifest=put", json.dumps(lines), X_Object_Meta_Kind="large").status == 201
    whole = b"".join(pieces)
    got = s3.get_object(Bucket="both", Key="slo")
    assert got["Body"].read() == whole and got["Metadata"] == {"kind": "large"}
    head = s3.head_object(Bucket="both", Key="slo")
    row = next(row for row in s3.list_objects_v2(Bucket="both")["Contents"] if row["Key"] == "slo")
    told = swift("HEAD", "/both/slo").getheader("Etag").strip('"')
    assert got["ETag"] == head["ETag"] == row["ETag"] == f'"{told}-3"', (got["ETag"], head["ETag"], row["ETag"], told)
    assert got["ContentLength"] == head["ContentLength"] == row["Size"] == len(whole)
    first = (1 << 20) - 3
    part = s3.get_object(Bucket="both", Key="slo", Range=f"bytes={first}-{first + 5010}")
    assert part["Body"].read() == whole[first:first + 5011]
    assert part["ContentRange"] == f"bytes {first}-{first + 5010}/{len(whole)}"
    part = s3.get_object(Bucket="both", Key="slo", PartNumber=2)
    assert part["Body"].read() == pieces[1] and part["PartsCount"] == 3
    assert s3.get_object(Bucket="both", Key="slo", IfMatch=got["ETag"])["ContentLength"] == len(whole)
    refused(s3.get_object, 304, Bucket="both", Key="slo", IfNoneMatch=got["ETag"])
    # A copy over S3 is a large object as well, also with metadata of its own.
    s3.copy_object(Bucket="both", Key="slo-copy", CopySource={"Bucket": "both", "Key": "slo"},
                   MetadataDirective="REPLACE", Metadata={"kind": "copy"})
    assert swift("GET", "/both/slo-copy").content == whole
    assert s3.head_object(Bucket="both", Key="slo-copy")["Metadata"] == {"kind": "copy"}
    # Part of an upload it is not: that would copy the manifest.
    upload = s3.create_multipart_upload(Bucket="both", Key="mp-of-slo")["UploadId"]
    for more in ({}, {"CopySourceRange": "bytes=0-9"}):
        refused(s3.upload_part_copy, 501, Bucket="both", Key="mp-of-slo", UploadId=upload, PartNumber=1,
                CopySource={"Bucket": "both", "Key": "slo"}, **more)
    s3.abort_multipart_upload(Bucket="both", Key="mp-of-slo", UploadId=upload)
    # A manifest in a manifest; a segment that changed.
    nested = json.dumps([{"path": "/both/slo", "range": "1048570-1048589"}, {"path": "/segments/slo/1"}])
    assert swift("PUT", "/both/nested?multipart-manifest=put", nested).status == 201
    assert s3.get_object(Bucket="both", Key="nested")["Body"].read() == whole[1048570:1048590] + pieces[1]
    swift("PUT", "/segments/slo/0", b"changed")
    refused(s3.get_object, 409, Bucket="both", Key="slo")
    assert swift("GET", "/both/slo").status == 409
    for name in ("slo", "slo-copy", "nested"):
        s3.delete_object(Bucket="both", Key=name)


def dynamic_large(s3, swift):
    """A dynamic large object and links, over S3."""
    for at in range(3):
        assert swift("PUT", f"/segments/dlo/{at}", str(at) * 5).status == 201
    assert swift("PUT", "/both/dlo", b"", X_Object_Manifest="segments/dlo/").status == 201
    got = s3.get_object(Bucket="both", Key="dlo")
    assert got["Body"].read() == b"000001111122222" and got["ContentLength"] == 15
    assert s3.get_object(Bucket="both", Key="dlo", Range="bytes=4-5")["Body"].read() == b"01"
    swift("PUT", "/segments/dlo/3", b"33333")
    assert s3.head_object(Bucket="both", Key="dlo")["ContentLength"] == 20
    assert swift("PUT", "/both/target", b"the target", Content_Type="text/x-target").status == 201
    etag = swift("HEAD", "/both/target").getheader("Etag")
    assert swift("PUT", "/both/link", b"", X_Symlink_Target="both/target").status == 201
    assert swift("PUT", "/both/static", b"", X_Symlink_Target="both/link", X_Symlink_Target_Etag="d41d8cd98f00b204e9800998ecf8427e").status == 201
    assert swift("PUT", "/both/fixed", b"", X_Symlink_Target="both/target", X_Symlink_Target_Etag=etag).status == 201
    for name in ("link", "static", "fixed"):
        got = s3.get_object(Bucket="both", Key=name)
        assert got["Body"].read() == b"the target" and got["ETag"] == f'"{etag}"', name
        assert got["ContentType"] == "text/x-target", (name, got["ContentType"])
    rows = {row["Key"]: row for row in s3.list_objects_v2(Bucket="both")["Contents"]}
    assert (rows["fixed"]["Size"], rows["fixed"]["ETag"]) == (10, f'"{etag}"'), rows["fixed"]
    swift("PUT", "/both/target", b"something else")
    refused(s3.get_object, 409, Bucket="both", Key="fixed")
    assert s3.get_object(Bucket="both", Key="link")["Body"].read() == b"something else"
    swift("DELETE", "/both/target")
    refused(s3.head_object, 404, Bucket="both", Key="link")
    assert swift("PUT", "/both/round", b"", X_Symlink_Target="both/about").status == 201
    assert swift("PUT", "/both/about", b"", X_Symlink_Target="both/round").status == 201
    refused(s3.get_object, 409, Bucket="both", Key="round")
    for name in ("dlo", "link", "static", "fixed", "round", "about"):
        s3.delete_object(Bucket="both", Key=name)


def endings(s3, swift):
    """An object whose time is over is gone over both at once, swept or not."""
    assert swift("PUT", "/both/soon", b"x", X_Delete_After="1").status == 201
    assert s3.head_object(Bucket="both", Key="soon")["ContentLength"] == 1
    until = time.monotonic() + 10
    while swift("HEAD", "/both/soon").status != 404:
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.1)
    refused(s3.get_object, 404, Bucket="both", Key="soon")
    s3.delete_object(Bucket="both", Key="soon")


def refused(call, status, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        told = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert told == status, (told, error)
    else:
        raise AssertionError(f"{arguments} was not refused")


def versions(s3, swift):
    """Versions are the same ones, with the same ids."""
    assert swift("PUT", "/versioned", X_Versions_Enabled="true").status == 201
    assert s3.get_bucket_versioning(Bucket="versioned")["Status"] == "Enabled"
    first = swift("PUT", "/versioned/o", b"one").getheader("X-Object-Version-Id")
    second = s3.put_object(Bucket="versioned", Key="o", Body=b"two")["VersionId"]
    assert s3.get_object(Bucket="versioned", Key="o", VersionId=first)["Body"].read() == b"one"
    assert swift("GET", f"/versioned/o?version-id={second}").content == b"two"
    s3.delete_object(Bucket="versioned", Key="o")
    assert swift("GET", "/versioned/o").status == 404
    rows = json.loads(swift("GET", "/versioned?versions&format=json").content)
    assert [row["version_id"] for row in rows][1:] == [second, first], rows
    for row in rows:
        swift("DELETE", f"/versioned/o?version-id={row['version_id']}")
    assert swift("DELETE", "/versioned").status == 204


def containers(s3, swift):
    """Names that S3 does not know exist over Swift only; a global name is taken over S3."""
    for name in ("Upper", "with space", "c" * 256):
        assert swift("PUT", "/" + urllib.parse.quote(name)).status == 201, name
        assert swift("DELETE", "/" + urllib.parse.quote(name)).status == 204, name
    s3.create_bucket(Bucket="made-over-s3")
    assert swift("HEAD", "/made-over-s3").status == 204
    assert swift("PUT", "/made-over-swift").status == 201
    assert "made-over-swift" in [row["Name"] for row in s3.list_buckets()["Buckets"]]
    s3.delete_bucket(Bucket="made-over-swift")
    assert swift("HEAD", "/made-over-swift").status == 404
    assert swift("DELETE", "/made-over-s3").status == 204
    try:
        s3.head_bucket(Bucket="made-over-s3")
    except botocore.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error
    else:
        raise AssertionError("a deleted container is still a bucket")
