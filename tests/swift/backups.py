"""Backups through Swift backends: rclone, read back over S3; duplicity."""

import shutil

import clients
from tree import assert_same, build, digest

TIMEOUT = 1800


def run(world):
    source = world.folder / "source"
    build(source, world.files, 8 << 20)
    want = digest(source)
    rclone(world, source, want)
    if shutil.which("duplicity"):
        duplicity(world, source, want)
    else:
        world.say("duplicity is not installed")


def rclone(world, source, want):
    """Copied in by the Swift backend, checked by it, read back by the S3 backend."""
    env = {
        **world.cluster.environment(),
        "RCLONE_CONFIG_HS_TYPE": "swift",
        "RCLONE_CONFIG_HS_USER": world.user,
        "RCLONE_CONFIG_HS_KEY": world.s3["secret_key"],
        "RCLONE_CONFIG_HS_AUTH": world.auth,
        "RCLONE_CONFIG_H3_TYPE": "s3",
        "RCLONE_CONFIG_H3_PROVIDER": "Other",
        "RCLONE_CONFIG_H3_ENV_AUTH": "true",
        "RCLONE_CONFIG_H3_REGION": world.s3["region"],
        "RCLONE_CONFIG_H3_ENDPOINT": world.s3["endpoint"],
    }
    clients.run(["rclone", "copy", str(source), "hs:rclone-backup/tree"], env, TIMEOUT)
    clients.run(["rclone", "check", str(source), "hs:rclone-backup/tree"], env, TIMEOUT)
    back = world.folder / "rclone-back"
    clients.run(["rclone", "copy", "h3:rclone-backup/tree", str(back)], env, TIMEOUT)
    assert_same(want, back, "rclone, in over Swift and out over S3")
    clients.run(["rclone", "purge", "hs:rclone-backup"], env, TIMEOUT)


def duplicity(world, source, want):
    env = {
        **world.swift_environment(),
        "SWIFT_USERNAME": world.user,
        "SWIFT_PASSWORD": world.s3["secret_key"],
        "SWIFT_AUTHURL": world.auth,
        "SWIFT_AUTHVERSION": "1",
        "PASSPHRASE": clients.PASSWORD,
        "HOME": str(world.folder),
        "PYTHONPATH": swiftclient_path(),
    }
    cache = ["--archive-dir", str(world.folder / "duplicity-cache")]
    clients.run(["duplicity", "full", *cache, str(source), "swift://duplicity-backup"], env, TIMEOUT)
    back = world.folder / "duplicity-back"
    clients.run(["duplicity", "restore", *cache, "swift://duplicity-backup", str(back)], env, TIMEOUT)
    assert_same(want, back, "duplicity")


def swiftclient_path():
    """duplicity runs under the system's Python, which has no swiftclient of its own."""
    import swiftclient

    return str(__import__("pathlib").Path(swiftclient.__file__).parent.parent)
