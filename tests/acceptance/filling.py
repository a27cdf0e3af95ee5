"""Puts a great many tiny objects, faster than an SDK does: signed requests over kept connections, from a few processes."""

import asyncio
import datetime
import hashlib
import hmac
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import quote, urlsplit

PROCESSES = 2
CONNECTIONS = 24
HEAD_BYTES_MAX = 64 << 10
# Requests that a stopped or overloaded server may refuse before a fill gives up.
ATTEMPTS_MAX = 5


def put_many(s3, bucket, keys):
    """Puts one byte under every key of the list; raises when one is refused."""
    shares = [keys[start::PROCESSES] for start in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES) as pool:
        for _ in pool.map(share, [s3] * PROCESSES, [bucket] * PROCESSES, shares):
            pass


def share(s3, bucket, keys):
    asyncio.run(put_share(s3, bucket, keys))


async def put_share(s3, bucket, keys):
    signer, left = Signer(s3), iter(keys)
    await asyncio.gather(*(connection(signer, bucket, left) for _ in range(CONNECTIONS)))


async def connection(signer, bucket, keys):
    """One connection; all of a process draw from the same keys."""
    reader, writer = await asyncio.open_connection(signer.host, signer.port, limit=HEAD_BYTES_MAX)
    try:
        for key in keys:
            for attempt in range(ATTEMPTS_MAX):
                writer.write(signer.put(f"/{bucket}/{quote(key)}", b"x"))
                status = await answer(reader)
                if status == 200:
                    break
                if status != 503 or attempt + 1 == ATTEMPTS_MAX:
                    raise RuntimeError(f"PUT {key}: {status}")
    finally:
        writer.close()


async def answer(reader):
    """Reads one answer to its end; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return int(head.split(b" ", 2)[1])


class Signer:
    """AWS Signature Version 4 with an unsigned payload."""

    def __init__(self, s3):
        url = urlsplit(s3["endpoint"])
        self.host, self.port = url.hostname, url.port
        self.access_key, self.region = s3["access_key"], s3["region"]
        self.secret = s3["secret_key"]
        self.day, self.key = None, None

    def put(self, path, body):
        """The bytes of a signed PUT."""
        moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        if self.day != moment[:8]:
            self.day, self.key = moment[:8], self.day_key(moment[:8])
        host = f"{self.host}:{self.port}"
        names = "host;x-amz-content-sha256;x-amz-date"
        headers = f"host:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{moment}\n"
        request = f"PUT\n{path}\n\n{headers}\n{names}\nUNSIGNED-PAYLOAD"
        scope = f"{self.day}/{self.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = digest(self.key, text).hex()
        return (
            f"PUT {path} HTTP/1.1\r\nhost: {host}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: {moment}\r\n"
            f"authorization: AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def day_key(self, day):
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = digest(key, part)
        return key


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
