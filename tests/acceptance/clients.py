"""The unmodified clients, each as a backup, a listing, a check and a restore."""

import os
import shutil
import subprocess
from pathlib import Path

PASSWORD = "correct horse battery staple"


def run(command, env, timeout, **kwargs):
    """Runs a client; its output is shown when it fails."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, **kwargs)
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-4000:]
        raise AssertionError(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{tail}")
    return done.stdout


def restored_root(root, source):
    """Clients that restore absolute paths put the tree below its full name."""
    return Path(root, str(source).lstrip("/"))


class Restic:
    name = "restic"

    def __init__(self, cluster, bucket, cache, timeout):
        self.timeout = timeout
        self.env = {**cluster.environment(), "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(cache)}
        self.base = ["restic", "-r", f"s3:{cluster.s3['endpoint']}/{bucket}/restic"]

    def prepare(self):
        run(self.base + ["init"], self.env, self.timeout)

    def backup_command(self, source):
        return self.base + ["backup", "--quiet", str(source)]

    def backup(self, source):
        run(self.backup_command(source), self.env, self.timeout)

    def check(self):
        run(self.base + ["check", "--read-data"], self.env, self.timeout)

    def listing(self):
        return run(self.base + ["snapshots"], self.env, self.timeout)

    def restore(self, source, target):
        run(self.base + ["restore", "latest", "--target", str(target)], self.env, self.timeout)
        return restored_root(target, source)


class Rclone:
    name = "rclone"

    def __init__(self, cluster, bucket, cache, timeout):
        self.timeout = timeout
        s3 = cluster.s3
        self.env = {
            **cluster.environment(),
            "RCLONE_CONFIG": str(Path(cache, "rclone.conf")),
            "RCLONE_CONFIG_HALO_TYPE": "s3",
            "RCLONE_CONFIG_HALO_PROVIDER": "Other",
            "RCLONE_CONFIG_HALO_ACCESS_KEY_ID": s3["access_key"],
            "RCLONE_CONFIG_HALO_SECRET_ACCESS_KEY": s3["secret_key"],
            "RCLONE_CONFIG_HALO_ENDPOINT": s3["endpoint"],
            "RCLONE_CONFIG_HALO_REGION": s3["region"],
        }
        self.remote = f"halo:{bucket}/rclone"

    def prepare(self):
        pass

    def backup(self, source):
        run(["rclone", "sync", "--transfers", "8", str(source), self.remote], self.env, self.timeout)
        self.source = source

    def check(self):
        run(["rclone", "check", "--download", str(self.source), self.remote], self.env, self.timeout)

    def listing(self):
        return run(["rclone", "lsf", "-R", "--files-only", self.remote], self.env, self.timeout)

    def restore(self, source, target):
        run(["rclone", "copy", "--transfers", "8", self.remote, str(target)], self.env, self.timeout)
        return Path(target)


class Aws:
    name = "aws"

    def __init__(self, cluster, bucket, cache, timeout):
        self.timeout = timeout
        self.env = {**cluster.environment(), "HOME": str(cache)}
        self.base = [shutil.which("aws", path=os.environ.get("CLIENTS_PATH", os.environ["PATH"])) or "aws", "s3"]
        self.remote = f"s3://{bucket}/aws"

    def prepare(self):
        pass

    def backup(self, source):
        run(self.base + ["sync", "--only-show-errors", str(source), self.remote], self.env, self.timeout)

    def check(self):
        pass

    def listing(self):
        return run(self.base + ["ls", "--recursive", self.remote + "/"], self.env, self.timeout)

    def restore(self, source, target):
        run(self.base + ["sync", "--only-show-errors", self.remote, str(target)], self.env, self.timeout)
        return Path(target)


class S3cmd:
    name = "s3cmd"

    def __init__(self, cluster, bucket, cache, timeout):
        self.timeout = timeout
        s3 = cluster.s3
        host = s3["endpoint"].split("://", 1)[1]
        config = Path(cache, "s3cfg")
        config.write_text(
            "[default]\n"
            f"access_key = {s3['access_key']}\nsecret_key = {s3['secret_key']}\n"
            f"host_base = {host}\nhost_bucket = {host}\nbucket_location = {s3['region']}\n"
            "use_https = False\nsignature_v2 = False\n"
        )
        self.env = {**os.environ, "HOME": str(cache)}
        self.base = ["s3cmd", "-c", str(config), "--no-progress"]
        self.remote = f"s3://{bucket}/s3cmd/"

    def prepare(self):
        pass

    def backup(self, source):
        run(self.base + ["sync", "-q", f"{source}/", self.remote], self.env, self.timeout)

    def check(self):
        pass

    def listing(self):
        return run(self.base + ["ls", "-r", self.remote], self.env, self.timeout)

    def restore(self, source, target):
        run(self.base + ["sync", "-q", self.remote, f"{target}/"], self.env, self.timeout)
        return Path(target)


class Duplicity:
    name = "duplicity"

    def __init__(self, cluster, bucket, cache, timeout):
        self.timeout = timeout
        self.env = {**cluster.environment(), "PASSPHRASE": PASSWORD, "HOME": str(cache)}
        self.options = [
            "--archive-dir", str(Path(cache, "archive")),
            "--s3-endpoint-url", cluster.s3["endpoint"],
            "--s3-region-name", cluster.s3["region"],
            "--no-encryption", "--verbosity", "warning",
        ]
        self.remote = f"boto3+s3://{bucket}/duplicity"

    def prepare(self):
        pass

    def backup(self, source):
        run(["duplicity", "full", *self.options, str(source), self.remote], self.env, self.timeout)

    def check(self):
        run(["duplicity", "collection-status", *self.options, self.remote], self.env, self.timeout)

    def listing(self):
        return run(["duplicity", "list-current-files", *self.options, self.remote], self.env, self.timeout)

    def restore(self, source, target):
        place = Path(target, "restored")
        run(["duplicity", "restore", *self.options, self.remote, str(place)], self.env, self.timeout)
        return place


ALL = (Rclone, Restic, Aws, S3cmd, Duplicity)
