"""One large object by multipart with 16 parts at a time, one by a single PUT; memory stays bounded (MEM-1)."""

import hashlib
import io
import random
from concurrent.futures import ThreadPoolExecutor

SMALL = {"multipart": 256 << 20, "part": 8 << 20, "single": 128 << 20}
FULL = {"multipart": 5 << 30, "part": 32 << 20, "single": 2 << 30}
PARALLEL = 16
RESIDENT_KIB_MAX = 512 * 1024


class Noise(io.RawIOBase):
    """`size` reproducible bytes that are never in memory as a whole."""

    BLOCK = random.Random(7).randbytes(1 << 20)

    def __init__(self, size, seed=0):
        self.size, self.seed, self.at = size, seed, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.at = offset + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def tell(self):
        return self.at

    def read(self, count=-1):
        left = self.size - self.at
        count = left if count is None or count < 0 else min(count, left)
        pieces = []
        while count > 0:
            index, within = divmod(self.at, len(self.BLOCK))
            if within < 8:
                block = ((index << 16) + self.seed).to_bytes(8, "big") + self.BLOCK[8:]
            else:
                block = self.BLOCK
            piece = block[within : within + count] if within >= 8 else block[within : min(within + count, len(block))]
            pieces.append(piece)
            self.at += len(piece)
            count -= len(piece)
        return b"".join(pieces)

    def __len__(self):
        return self.size


def sha256_of(stream):
    sha = hashlib.sha256()
    while block := stream.read(1 << 20):
        sha.update(block)
    return sha.hexdigest()


def run(world):
    size = FULL if world.full else SMALL
    with world.cluster("large") as cluster:
        s3 = cluster.boto(read_timeout=600, retries={"max_attempts": 1})
        s3.create_bucket(Bucket="large")
        upload = s3.create_multipart_upload(Bucket="large", Key="multipart")["UploadId"]
        count = size["multipart"] // size["part"]

        def part(number):
            body = Noise(size["part"], seed=number)
            done = s3.upload_part(Bucket="large", Key="multipart", UploadId=upload, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": done["ETag"]}

        with ThreadPoolExecutor(PARALLEL) as pool:
            parts = list(pool.map(part, range(1, count + 1)))
        s3.complete_multipart_upload(
            Bucket="large", Key="multipart", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        s3.put_object(Bucket="large", Key="single", Body=Noise(size["single"], seed=999))

        want = hashlib.sha256()
        for number in range(1, count + 1):
            stream = Noise(size["part"], seed=number)
            while block := stream.read(1 << 20):
                want.update(block)
        got = sha256_of(s3.get_object(Bucket="large", Key="multipart")["Body"])
        assert got == want.hexdigest(), "the multipart object differs"
        got = sha256_of(s3.get_object(Bucket="large", Key="single")["Body"])
        assert got == sha256_of(Noise(size["single"], seed=999)), "the single object differs"
        cluster.note_peaks()
        for label, kib in cluster.peak_kib.items():
            assert kib < RESIDENT_KIB_MAX, f"{label} reached {kib // 1024} MiB of resident memory"
        return {
            "multipart MiB": size["multipart"] >> 20,
            "single MiB": size["single"] >> 20,
            "peak memory": cluster.peaks(),
        }
