"""Real trees of files to back up, and their comparison byte for byte."""

import hashlib
import os
import shutil
from pathlib import Path

SOURCES = ("/usr/share", "/usr/lib", "/usr/include", "/usr/bin")


def build(target, files, size):
    """Copies at least `files` real files and `size` bytes from the machine's own tree; links are kept as links."""
    target = Path(target)
    count = total = 0
    for source in SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if count >= files and total >= size:
                    return count, total
                to = target / path.relative_to("/")
                if path.is_symlink() or not path.is_file():
                    continue
                length = path.stat().st_size
                if length > size // 4:
                    continue
                # Once there are files enough, only larger ones are taken, so that the bytes are reached too.
                if count >= files and length < 64 * 1024:
                    continue
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
                count += 1
                total += length
    return count, total


def digest(root):
    """Relative path -> SHA-256 of every file below `root`."""
    root = Path(root)
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            sha = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    sha.update(block)
            found[str(path.relative_to(root))] = sha.hexdigest()
    return found


def assert_same(want, root, what):
    """Fails with the first differences when the tree below `root` is not `want` (a result of `digest`)."""
    have = digest(root)
    if have == want:
        return
    missing = sorted(set(want) - set(have))[:5]
    extra = sorted(set(have) - set(want))[:5]
    differ = sorted(p for p in set(want) & set(have) if want[p] != have[p])[:5]
    raise AssertionError(f"{what}: missing {missing}, extra {extra}, different {differ} (of {len(want)} files)")
