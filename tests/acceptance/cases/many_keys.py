"""A page of a listing costs the same in a large bucket as in a small one, behind delete markers and versions too."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from filling import put_many

SMALL = {"small": 2_000, "large": 20_000, "markers": 5_000, "versions": 2_000, "pages": 40}
FULL = {"small": 10_000, "large": 1_000_000, "markers": 1_000_000, "versions": 100_000, "pages": 200}
PARALLEL = 32
RATIO_MAX = 2.0


def run(world):
    size = FULL if world.full else SMALL
    with world.cluster("keys") as cluster:
        s3 = cluster.boto(request_checksum_calculation="when_required")
        for name in ("small", "large", "markers", "versions"):
            s3.create_bucket(Bucket=f"keys-{name}")
        for name in ("small", "large"):
            put_many(cluster.s3, f"keys-{name}", [key(number) for number in range(size[name])])
            world.say(f"{size[name]} keys are there")
        figures = {"keys": size["large"]}
        for label, options in (("plain", {}), ("delimiter", {"Delimiter": "/"})):
            base = page_ms(s3, "keys-small", size["small"], size["pages"], options)
            big = page_ms(s3, "keys-large", size["large"], size["pages"], options)
            figures[f"page, {label}"] = f"{base:.2f} ms -> {big:.2f} ms ({big / base:.2f} x)"
            assert world.loose or big <= RATIO_MAX * base, f"{label}: a page costs {big / base:.2f} x"
        behind_markers(world, s3, size, figures)
        behind_versions(world, cluster, s3, size, figures)
        figures["peak memory"] = cluster.peaks()
        return figures


def key(number):
    # Four keys share a folder: a delimiter folds something, and the small bucket too has full pages of folders.
    return f"folder-{number // 4:06d}/object-{number:08d}"


def each(work, count):
    with ThreadPoolExecutor(PARALLEL) as pool:
        for _ in pool.map(work, range(count), chunksize=256):
            pass


def page_ms(s3, bucket, count, pages, options):
    """Median milliseconds of pages of 1,000 that begin at places spread over the bucket."""
    taken = []
    for page in range(pages):
        start = key((page * count // pages) // 2)
        begun = time.perf_counter()
        s3.list_objects_v2(Bucket=bucket, StartAfter=start, MaxKeys=1000, **options)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def behind_markers(world, s3, size, figures):
    """Live keys behind a great many delete markers are found as fast as without them."""
    bucket, count = "keys-markers", size["markers"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def delete(number):
        keys = [{"Key": f"gone-{number * 1000 + i:08d}"} for i in range(1000)]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})

    for number in range(1000):
        s3.put_object(Bucket=bucket, Key=f"live-{number:04d}", Body=b"x")
    base = median_page(s3, bucket, size["pages"])
    each(delete, count // 1000)
    page = s3.list_objects_v2(Bucket=bucket)
    assert [o["Key"] for o in page["Contents"]] == [f"live-{n:04d}" for n in range(1000)]
    behind = median_page(s3, bucket, size["pages"])
    figures[f"page behind {count} markers"] = f"{base:.2f} ms -> {behind:.2f} ms ({behind / base:.2f} x)"
    assert world.loose or behind <= RATIO_MAX * base, f"behind markers a page costs {behind / base:.2f} x"


def behind_versions(world, cluster, s3, size, figures):
    """Keys behind a great many versions of one key are found as fast as without them."""
    bucket, count = "keys-versions", size["versions"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(1000):
        s3.put_object(Bucket=bucket, Key=f"key-{number:04d}", Body=b"x")
    base = median_page(s3, bucket, size["pages"])
    put_many(cluster.s3, bucket, ["key-0500"] * count)
    behind = median_page(s3, bucket, size["pages"])
    figures[f"page over {count} versions of one key"] = f"{base:.2f} ms -> {behind:.2f} ms ({behind / base:.2f} x)"
    assert world.loose or behind <= RATIO_MAX * base, f"over versions a page costs {behind / base:.2f} x"


def median_page(s3, bucket, pages):
    taken = []
    for _ in range(pages):
        begun = time.perf_counter()
        s3.list_objects_v2(Bucket=bucket, MaxKeys=1000)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)
