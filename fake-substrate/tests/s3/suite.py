"""What a client expects of S3, said with boto3. Run by suite.rs with a file that tells where."""

import base64
import datetime
import hashlib
import io
import json
import sys
import threading
import unittest
import urllib.error
import urllib.request
import uuid
import zlib
from unittest import mock

import boto3
import botocore.auth
import botocore.exceptions
from botocore.config import Config

GIVEN = json.load(open(sys.argv.pop(1)))
BUCKET = GIVEN["bucket"]
MIB = 1 << 20


def client(endpoint="http", secret=None, access=None, **options):
    options = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}} | options
    return boto3.client(
        "s3",
        endpoint_url=GIVEN[endpoint],
        region_name=GIVEN["region"],
        aws_access_key_id=access or GIVEN["access_key"],
        aws_secret_access_key=secret or GIVEN["secret_key"],
        verify=GIVEN["authority"] if endpoint == "https" else None,
        config=Config(**options),
    )


# Making one takes boto3 a tenth of a second.
SHARED = client()


class Suite(unittest.TestCase):
    def setUp(self):
        self.s3 = SHARED
        # A corner of the bucket of its own for each test.
        self.at = f"{self._testMethodName}-{uuid.uuid4().hex[:8]}/"

    def key(self, name="object"):
        return self.at + name

    def put(self, name, body=b"body", **options):
        return self.s3.put_object(Bucket=BUCKET, Key=self.key(name), Body=body, **options)

    def get(self, name, **options):
        answer = self.s3.get_object(Bucket=BUCKET, Key=self.key(name), **options)
        return answer["Body"].read(), answer

    def refused(self, code, status, call, *arguments, **options):
        with self.assertRaises(botocore.exceptions.ClientError) as raised:
            call(*arguments, **options)
        error = raised.exception.response
        self.assertEqual(
            (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]), (code, status)
        )
        return error


class Objects(Suite):
    def test_what_is_put_is_got_and_gone_once_deleted(self):
        body = bytes(range(256)) * 5000
        etag = self.put("object", body)["ETag"]
        self.assertEqual(etag, f'"{hashlib.md5(body).hexdigest()}"')
        got, answer = self.get("object")
        self.assertEqual(got, body)
        self.assertEqual((answer["ETag"], answer["ContentLength"]), (etag, len(body)))
        head = self.s3.head_object(Bucket=BUCKET, Key=self.key())
        self.assertEqual((head["ETag"], head["ContentLength"]), (etag, len(body)))
        age = datetime.datetime.now(datetime.timezone.utc) - head["LastModified"]
        self.assertLess(abs(age.total_seconds()), 120)
        for _time in range(2):  # S3 deletes what is not there
            self.s3.delete_object(Bucket=BUCKET, Key=self.key())
        self.refused("NoSuchKey", 404, self.get, "object")
        self.refused("404", 404, self.s3.head_object, Bucket=BUCKET, Key=self.key())

    def test_an_empty_object_is_an_object(self):
        self.put("object", b"")
        self.assertEqual(self.get("object")[0], b"")

    def test_a_second_put_replaces_all_of_the_first(self):
        self.put("object", b"a longer body", Metadata={"a": "1"}, ContentType="text/plain")
        self.put("object", b"short", ChecksumAlgorithm="SHA256")
        body, answer = self.get("object")
        self.assertEqual((body, answer["Metadata"]), (b"short", {}))
        self.assertEqual(answer["ContentType"], "binary/octet-stream")

    def test_metadata_and_headers_come_back(self):
        told = {
            "ContentType": "application/x-wal",
            "CacheControl": "no-cache",
            "ContentDisposition": 'attachment; filename="x"',
            "ContentEncoding": "gzip",
            "ContentLanguage": "de",
            "Metadata": {"lsn": "0/16B3", "two-words": "a b"},
        }
        self.put("object", **told)
        for answer in self.get("object")[1], self.s3.head_object(Bucket=BUCKET, Key=self.key()):
            self.assertEqual({name: answer[name] for name in told}, told)

    def test_any_key_is_a_key(self):
        names = ["a", "a/b", "a/b/", "a//b", "ü/ 日本.x", "%2F+&=?#", "..", "x" * 900, "<&>\"'", "🙂"]
        for name in names:
            self.put(name, name.encode())
        for name in names:
            self.assertEqual(self.get(name)[0], name.encode(), name)
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=self.at)["Contents"]
        expected = sorted((self.key(name) for name in names), key=str.encode)
        self.assertEqual([object["Key"] for object in listed], expected)

    def test_a_prefix_of_a_key_is_no_object(self):
        self.put("a/b/c")
        for name in "a", "a/", "a/b":
            self.refused("NoSuchKey", 404, self.get, name)
            self.refused("404", 404, self.s3.head_object, Bucket=BUCKET, Key=self.key(name))
        self.put("a", b"beside", IfNoneMatch="*")

    def test_many_are_deleted_with_one_request(self):
        for name in "a", "b", "c":
            self.put(name)
        named = [{"Key": self.key(name)} for name in ("a", "b", "not there")]
        answer = self.s3.delete_objects(Bucket=BUCKET, Delete={"Objects": named})
        deleted = {object["Key"] for object in answer["Deleted"]}
        self.assertEqual(deleted, {object["Key"] for object in named})
        quiet = {"Objects": [{"Key": self.key("c")}], "Quiet": True}
        self.assertNotIn("Deleted", self.s3.delete_objects(Bucket=BUCKET, Delete=quiet))
        self.assertEqual(self.s3.list_objects_v2(Bucket=BUCKET, Prefix=self.at)["KeyCount"], 0)

    def test_a_copy_is_an_object_of_its_own(self):
        self.put("from", b"body", Metadata={"a": "1"}, ContentType="text/plain")
        source = {"Bucket": BUCKET, "Key": self.key("from")}
        copied = self.s3.copy_object(Bucket=BUCKET, Key=self.key("to"), CopySource=source)
        self.put("from", b"other")
        body, answer = self.get("to")
        self.assertEqual((body, answer["Metadata"]), (b"body", {"a": "1"}))
        self.assertEqual(copied["CopyObjectResult"]["ETag"], answer["ETag"])
        self.s3.copy_object(
            Bucket=BUCKET,
            Key=self.key("to"),
            CopySource={"Bucket": BUCKET, "Key": self.key("to")},
            MetadataDirective="REPLACE",
            Metadata={"b": "2"},
        )
        body, answer = self.get("to")
        self.assertEqual((body, answer["Metadata"]), (b"body", {"b": "2"}))

    def test_a_copy_of_nothing_or_onto_itself_is_refused(self):
        nothing = {"Bucket": BUCKET, "Key": self.key("not there")}
        copy = self.s3.copy_object
        self.refused("NoSuchKey", 404, copy, Bucket=BUCKET, Key=self.key(), CopySource=nothing)
        self.put("object")
        itself = {"Bucket": BUCKET, "Key": self.key()}
        self.refused("InvalidRequest", 400, copy, Bucket=BUCKET, Key=self.key(), CopySource=itself)
        self.refused(
            "PreconditionFailed",
            412,
            copy,
            Bucket=BUCKET,
            Key=self.key("to"),
            CopySource=itself,
            CopySourceIfMatch='"0123"',
        )


class Ranges(Suite):
    def test_ranges_are_of_the_bytes_that_were_asked_for(self):
        body = bytes(range(200))
        self.put("object", body)
        for asked, first, last in [
            ("bytes=0-0", 0, 0),
            ("bytes=10-19", 10, 19),
            ("bytes=150-", 150, 199),
            ("bytes=-10", 190, 199),
            ("bytes=-1000", 0, 199),
            ("bytes=190-1000", 190, 199),
        ]:
            got, answer = self.get("object", Range=asked)
            self.assertEqual(got, body[first : last + 1], asked)
            self.assertEqual(answer["ContentRange"], f"bytes {first}-{last}/200", asked)
            self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 206, asked)

    def test_a_range_beyond_the_end_is_refused(self):
        self.put("object", b"0123456789")
        for asked in "bytes=10-", "bytes=10-20", "bytes=-0":
            self.refused("InvalidRange", 416, self.get, "object", Range=asked)


class Listings(Suite):
    NAMES = ["a", "b/1", "b/2", "b/c/3", "d", "e/4", "f"]

    def setUp(self):
        super().setUp()
        for name in self.NAMES:
            self.put(name)

    def tell(self, page):
        lines = [o["Key"] for o in page.get("Contents", [])]
        lines += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        return [line.removeprefix(self.at) for line in lines]

    def pages(self, version, **options):
        paginator = self.s3.get_paginator(version)
        return list(paginator.paginate(Bucket=BUCKET, Prefix=self.at, **options))

    def test_a_listing_tells_every_key_in_order_whatever_the_page(self):
        for version in "list_objects", "list_objects_v2":
            for size in 1, 2, 3, 7, 1000:
                pages = self.pages(version, PaginationConfig={"PageSize": size})
                told = [line for page in pages for line in self.tell(page)]
                self.assertEqual(told, self.NAMES, (version, size))
                self.assertEqual(len(pages), -(-len(self.NAMES) // size), (version, size))

    def test_keys_under_a_delimiter_are_one_line(self):
        for version in "list_objects", "list_objects_v2":
            for size in 1, 2, 1000:
                pages = self.pages(version, Delimiter="/", PaginationConfig={"PageSize": size})
                told = [line for page in pages for line in self.tell(page)]
                self.assertEqual(sorted(told), ["a", "b/", "d", "e/", "f"], (version, size))

    def test_a_delimiter_works_below_a_prefix(self):
        page = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=self.key("b/"), Delimiter="/")
        self.assertEqual(self.tell(page), ["b/1", "b/2", "b/c/"])
        self.assertEqual(page["KeyCount"], 3)

    def test_a_listing_goes_on_after_a_key(self):
        page = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=self.at, StartAfter=self.key("b/2"))
        self.assertEqual(self.tell(page), ["b/c/3", "d", "e/4", "f"])
        page = self.s3.list_objects(Bucket=BUCKET, Prefix=self.at, Marker=self.key("b/2"))
        self.assertEqual(self.tell(page), ["b/c/3", "d", "e/4", "f"])

    def test_a_listing_of_nothing_is_empty_and_ends(self):
        for version in self.s3.list_objects, self.s3.list_objects_v2:
            page = version(Bucket=BUCKET, Prefix=self.key("not there"))
            self.assertEqual((self.tell(page), page["IsTruncated"]), ([], False))
            page = version(Bucket=BUCKET, Prefix=self.at, MaxKeys=0)
            self.assertEqual((self.tell(page), page["IsTruncated"]), ([], False))

    def test_a_listing_tells_size_etag_and_time(self):
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=self.key("a"))["Contents"][0]
        head = self.s3.head_object(Bucket=BUCKET, Key=self.key("a"))
        self.assertEqual((listed["Size"], listed["ETag"]), (4, head["ETag"]))
        self.assertEqual(listed["LastModified"].replace(microsecond=0), head["LastModified"])


class Conditions(Suite):
    def test_a_write_that_wants_nothing_there_happens_once(self):
        self.put("object", b"first", IfNoneMatch="*")
        self.refused("PreconditionFailed", 412, self.put, "object", b"second", IfNoneMatch="*")
        self.assertEqual(self.get("object")[0], b"first")
        self.s3.delete_object(Bucket=BUCKET, Key=self.key())
        self.put("object", b"third", IfNoneMatch="*")

    def test_a_write_that_wants_a_version_replaces_that_one(self):
        etag = self.put("object", b"first")["ETag"]
        self.put("object", b"second", IfMatch=etag)
        self.refused("PreconditionFailed", 412, self.put, "object", b"third", IfMatch=etag)
        self.refused("NoSuchKey", 404, self.put, "not there", b"x", IfMatch=etag)
        self.assertEqual(self.get("object")[0], b"second")

    def test_of_many_writers_one_wins(self):
        outcomes = []

        def write(writer):
            try:
                self.put("object", f"{writer}".encode() * 100_000, IfNoneMatch="*")
                outcomes.append(writer)
            except botocore.exceptions.ClientError as error:
                assert error.response["Error"]["Code"] == "PreconditionFailed", error

        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        self.assertEqual(len(outcomes), 1)
        self.assertEqual(self.get("object")[0], f"{outcomes[0]}".encode() * 100_000)

    def test_a_read_knows_what_the_client_has(self):
        etag = self.put("object")["ETag"]
        modified = self.s3.head_object(Bucket=BUCKET, Key=self.key())["LastModified"]
        earlier = modified - datetime.timedelta(hours=1)
        self.get("object", IfMatch=etag)
        self.get("object", IfNoneMatch='"other"')
        self.get("object", IfModifiedSince=earlier)
        self.get("object", IfUnmodifiedSince=modified)
        self.refused("304", 304, self.get, "object", IfNoneMatch=etag)
        self.refused("304", 304, self.get, "object", IfModifiedSince=modified)
        self.refused("PreconditionFailed", 412, self.get, "object", IfMatch='"other"')
        self.refused("PreconditionFailed", 412, self.get, "object", IfUnmodifiedSince=earlier)
        # The connection is fit for use after an answer without a body.
        self.get("object")


class Multipart(Suite):
    def begin(self, **options):
        begun = self.s3.create_multipart_upload(Bucket=BUCKET, Key=self.key(), **options)
        return begun["UploadId"]

    def part(self, upload, number, body, **options):
        answer = self.s3.upload_part(
            Bucket=BUCKET, Key=self.key(), UploadId=upload, PartNumber=number, Body=body, **options
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def complete(self, upload, parts, **options):
        return self.s3.complete_multipart_upload(
            Bucket=BUCKET,
            Key=self.key(),
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            **options,
        )

    def test_parts_become_one_object_whatever_order_they_came_in(self):
        bodies = {7: b"c" * 5, 2: b"b" * 5 * MIB, 1: b"a" * 5 * MIB}
        upload = self.begin(Metadata={"a": "1"}, ContentType="text/plain")
        parts = [self.part(upload, number, body) for number, body in bodies.items()]
        self.refused("NoSuchKey", 404, self.get, "object")
        listed = self.s3.list_parts(Bucket=BUCKET, Key=self.key(), UploadId=upload)["Parts"]
        self.assertEqual([part["PartNumber"] for part in listed], [1, 2, 7])
        parts.sort(key=lambda part: part["PartNumber"])
        etag = self.complete(upload, parts)["ETag"]
        digests = b"".join(hashlib.md5(bodies[number]).digest() for number in sorted(bodies))
        self.assertEqual(etag, f'"{hashlib.md5(digests).hexdigest()}-3"')
        body, answer = self.get("object")
        self.assertEqual(body, bodies[1] + bodies[2] + bodies[7])
        self.assertEqual((answer["Metadata"], answer["ETag"]), ({"a": "1"}, etag))
        span = f"bytes={5 * MIB - 1}-{5 * MIB}"
        self.assertEqual(self.get("object", Range=span)[0], b"ab")
        self.refused("NoSuchUpload", 404, self.part, upload, 3, b"x")

    def test_a_part_that_comes_again_replaces_the_first(self):
        upload = self.begin()
        stale = self.part(upload, 1, b"first")
        part = self.part(upload, 1, b"second")
        self.refused("InvalidPart", 400, self.complete, upload, [stale])
        self.complete(upload, [part])
        self.assertEqual(self.get("object")[0], b"second")

    def test_a_completion_that_is_refused_can_be_put_right(self):
        upload = self.begin()
        small, last = self.part(upload, 1, b"small"), self.part(upload, 2, b"last")
        self.refused("EntityTooSmall", 400, self.complete, upload, [small, last])
        self.refused("InvalidPartOrder", 400, self.complete, upload, [last, small])
        missing = {"PartNumber": 9, "ETag": last["ETag"]}
        self.refused("InvalidPart", 400, self.complete, upload, [last, missing])
        self.complete(upload, [last])
        self.assertEqual(self.get("object")[0], b"last")

    def test_an_aborted_upload_leaves_nothing(self):
        upload = self.begin()
        part = self.part(upload, 1, b"x")
        there = self.s3.list_multipart_uploads(Bucket=BUCKET, Prefix=self.at)["Uploads"]
        self.assertEqual([one["UploadId"] for one in there], [upload])
        self.s3.abort_multipart_upload(Bucket=BUCKET, Key=self.key(), UploadId=upload)
        self.refused("NoSuchUpload", 404, self.complete, upload, [part])
        self.refused("NoSuchUpload", 404, self.part, upload, 2, b"x")
        after = self.s3.list_multipart_uploads(Bucket=BUCKET, Prefix=self.at)
        self.assertNotIn("Uploads", after)
        self.refused("NoSuchKey", 404, self.get, "object")

    def test_a_completion_has_conditions_too(self):
        self.put("object", b"there")
        upload = self.begin()
        parts = [self.part(upload, 1, b"new")]
        self.refused("PreconditionFailed", 412, self.complete, upload, parts, IfNoneMatch="*")
        self.assertEqual(self.get("object")[0], b"there")
        self.complete(upload, parts)
        self.assertEqual(self.get("object")[0], b"new")

    def test_an_upload_belongs_to_its_key(self):
        upload = self.begin()
        for id in upload, "../..", "0" * 24:
            self.refused(
                "NoSuchUpload",
                404,
                self.s3.upload_part,
                Bucket=BUCKET,
                Key=self.key("other"),
                UploadId=id,
                PartNumber=1,
                Body=b"x",
            )

    def test_part_numbers_have_bounds(self):
        upload = self.begin()
        for number in 0, 10_001:
            self.refused("InvalidArgument", 400, self.part, upload, number, b"x")

    def test_a_part_can_be_copied(self):
        self.put("from", bytes(range(100)))
        upload = self.begin()
        part = self.s3.upload_part_copy(
            Bucket=BUCKET,
            Key=self.key(),
            UploadId=upload,
            PartNumber=1,
            CopySource={"Bucket": BUCKET, "Key": self.key("from")},
            CopySourceRange="bytes=10-19",
        )
        self.complete(upload, [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}])
        self.assertEqual(self.get("object")[0], bytes(range(10, 20)))

    def test_the_transfer_manager_gets_a_large_file_through(self):
        body = hashlib.sha256(b"seed").digest() * (9 * MIB // 32)
        for endpoint in "http", "https":
            there = client(endpoint)
            there.upload_fileobj(io.BytesIO(body), BUCKET, self.key())
            back = io.BytesIO()
            there.download_fileobj(BUCKET, self.key(), back)
            self.assertTrue(back.getvalue() == body, endpoint)


class Checksums(Suite):
    BODY = b"0123456789" * 1000

    def test_checksums_come_back(self):
        sha256 = base64.b64encode(hashlib.sha256(self.BODY).digest()).decode()
        crc32 = base64.b64encode(zlib.crc32(self.BODY).to_bytes(4, "big")).decode()
        for algorithm, value in ("SHA256", sha256), ("CRC32", crc32):
            put = self.put("object", self.BODY, ChecksumAlgorithm=algorithm)
            self.assertEqual(put[f"Checksum{algorithm}"], value)
            body, got = self.get("object", ChecksumMode="ENABLED")
            self.assertEqual((body, got[f"Checksum{algorithm}"]), (self.BODY, value))

    def test_a_body_that_is_not_what_was_claimed_is_refused(self):
        wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
        self.refused("BadDigest", 400, self.put, "object", self.BODY, ChecksumSHA256=wrong)
        wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        self.refused("BadDigest", 400, self.put, "object", self.BODY, ContentMD5=wrong)
        self.refused("NoSuchKey", 404, self.get, "object")

    def test_a_part_that_is_not_what_was_claimed_is_refused(self):
        upload = self.s3.create_multipart_upload(Bucket=BUCKET, Key=self.key())["UploadId"]
        wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
        self.refused(
            "BadDigest",
            400,
            self.s3.upload_part,
            Bucket=BUCKET,
            Key=self.key(),
            UploadId=upload,
            PartNumber=1,
            Body=self.BODY,
            ChecksumSHA256=wrong,
        )
        parts = self.s3.list_parts(Bucket=BUCKET, Key=self.key(), UploadId=upload)
        self.assertNotIn("Parts", parts)

    def test_a_multipart_object_after_a_single_one_has_no_stale_checksum(self):
        self.put("object", self.BODY, ChecksumAlgorithm="CRC32")
        self.s3.upload_fileobj(io.BytesIO(b"x" * 9 * MIB), BUCKET, self.key())
        self.assertEqual(len(self.get("object", ChecksumMode="ENABLED")[0]), 9 * MIB)


class Signatures(Suite):
    def test_a_wrong_secret_does_nothing(self):
        stranger = client(secret="not the secret")
        for call in stranger.put_object, stranger.get_object, stranger.delete_object:
            options = {"Bucket": BUCKET, "Key": self.key()}
            if call == stranger.put_object:
                options["Body"] = b"x"
            self.refused("SignatureDoesNotMatch", 403, call, **options)
        self.refused("NoSuchKey", 404, self.get, "object")

    def test_an_unknown_key_does_nothing(self):
        stranger = client(access="AKIANOBODY")
        self.refused("InvalidAccessKeyId", 403, stranger.list_objects_v2, Bucket=BUCKET)

    def test_nobody_does_nothing(self):
        url = f"{GIVEN['http']}/{BUCKET}/{self.key()}"
        for method in "GET", "PUT", "DELETE":
            request = urllib.request.Request(url, method=method, data=b"x" if method == "PUT" else None)
            with self.assertRaises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(request)
            self.assertEqual(raised.exception.code, 403)
            self.assertIn(b"<Code>AccessDenied</Code>", raised.exception.read())

    def at_another_time(self, hours):
        moved = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        return mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: moved.replace(tzinfo=None))

    def test_a_clock_that_is_off_is_told(self):
        for hours in -1, 1:
            with self.at_another_time(hours):
                self.refused("RequestTimeTooSkewed", 403, self.put, "object")

    def test_a_presigned_url_is_as_good_as_a_key_until_it_expires(self):
        target = {"Bucket": BUCKET, "Key": self.key()}
        # boto3 presigns with version 2 of the signature when nothing is said.
        v4 = client(signature_version="s3v4")
        put = v4.generate_presigned_url("put_object", target, ExpiresIn=60)
        urllib.request.urlopen(urllib.request.Request(put, method="PUT", data=b"body")).close()
        get = v4.generate_presigned_url("get_object", target, ExpiresIn=60)
        with urllib.request.urlopen(get) as answer:
            self.assertEqual(answer.read(), b"body")
        other = get.replace(self.at, "another/")
        self.assertEqual(self.denied(other), (403, b"<Code>SignatureDoesNotMatch</Code>"))
        with self.at_another_time(-1):
            late = v4.generate_presigned_url("get_object", target, ExpiresIn=60)
        self.assertEqual(self.denied(late), (403, b"<Code>AccessDenied</Code>"))

    def denied(self, url):
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(url)
        body = raised.exception.read()
        return raised.exception.code, body[body.index(b"<Code>") : body.index(b"</Code>") + 7]

    def test_https_is_the_same_storage(self):
        self.put("object", b"over http")
        secure = client("https")
        body = secure.get_object(Bucket=BUCKET, Key=self.key())["Body"].read()
        self.assertEqual(body, b"over http")
        secure.put_object(Bucket=BUCKET, Key=self.key(), Body=b"over https")
        self.assertEqual(self.get("object")[0], b"over https")


class Buckets(Suite):
    def test_a_bucket_that_is_not_there_has_nothing(self):
        nowhere = {"Bucket": "not-there"}
        self.refused("NoSuchBucket", 404, self.s3.list_objects, **nowhere)
        self.refused("NoSuchBucket", 404, self.s3.list_objects_v2, **nowhere)
        self.refused("NoSuchBucket", 404, self.s3.get_object, Key="k", **nowhere)
        self.refused("NoSuchBucket", 404, self.s3.put_object, Key="k", Body=b"x", **nowhere)
        self.refused("NoSuchBucket", 404, self.s3.create_multipart_upload, Key="k", **nowhere)
        self.refused("404", 404, self.s3.head_bucket, **nowhere)

    def test_a_bucket_comes_and_goes(self):
        bucket = f"bucket-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=bucket)
        self.refused("BucketAlreadyOwnedByYou", 409, self.s3.create_bucket, Bucket=bucket)
        self.s3.head_bucket(Bucket=bucket)
        names = [one["Name"] for one in self.s3.list_buckets()["Buckets"]]
        self.assertTrue({BUCKET, bucket} <= set(names), names)
        self.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        self.refused("BucketNotEmpty", 409, self.s3.delete_bucket, Bucket=bucket)
        self.s3.delete_object(Bucket=bucket, Key="k")
        self.s3.delete_bucket(Bucket=bucket)
        self.refused("404", 404, self.s3.head_bucket, Bucket=bucket)

    def test_what_is_not_there_says_so(self):
        for call, options in [
            (self.s3.get_object_tagging, {"Key": self.key()}),
            (self.s3.get_bucket_versioning, {}),
            (self.s3.get_bucket_lifecycle_configuration, {}),
            (self.s3.get_object_acl, {"Key": self.key()}),
        ]:
            self.refused("NotImplemented", 501, call, Bucket=BUCKET, **options)


if __name__ == "__main__":
    unittest.main()
