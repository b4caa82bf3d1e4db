"""Files that hold a run. Imported with the first one read or written: it takes some of Python's larger modules."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import secrets
import stat
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from execution_tracker._metrics import named
from execution_tracker.collector import built_at_once
from execution_tracker.errors import InvalidRunError, expect
from execution_tracker.payloads import json_safe
from execution_tracker.persistence import (
    CheckedRun,
    Fields,
    checked_run,
    event_chunks,
    execution_chunks,
    safe_metrics,
)

if TYPE_CHECKING:
    from execution_tracker._run import Run

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SMALL_RUN = 50_000_000  # bytes; up to here a file may unpack to whatever it likes

_encode = json.JSONEncoder(allow_nan=False, check_circular=False).encode


def run_text(fields: Fields, run: Run) -> Iterator[str]:
    """Yield what ``json.dumps`` writes for ``run_data``, in pieces, so that neither ever exists as a whole."""
    names = named(run.routines)
    yield f'{{"_type": {_encode(fields.type_name)}, "flow_id": {_encode(json_safe(fields.flow_id))}'
    yield ', "routine_executions": {'
    separator = ""
    for routine_id, name in names.items():
        yield f"{separator}{_encode(name)}: ["
        yield from _list_text(execution_chunks(run, routine_id))
        yield "]"
        separator = ", "
    yield '}, "event_flow": ['
    yield from _list_text(event_chunks(run))
    yield f'], "performance_metrics": {_encode(safe_metrics(run, fields.performance_metrics, names))}'
    yield "".join(f", {_encode(name)}: {_encode(value)}" for name, value in fields.added.items()) + "}"


def _list_text(chunks: Iterator[list[Any]]) -> Iterator[str]:
    separator = ""
    for chunk in chunks:
        yield separator
        yield _encode(chunk)[1:-1]
        separator = ", "


def read_run(path: str | bytes | os.PathLike[Any], added: Collection[str] = ()) -> CheckedRun:
    """Return the run in a file.

    Args:
        path: The file.
        added: The names of fields that a subclass of the tracker added.

    Raises:
        InvalidRunError: There is no run in it; the message names the file and the place.
        OSError: The system does not give the file.
    """
    with open(os.fspath(path), "rb") as file:
        content = file.read()
    return run_in(content, os.fsdecode(path), added)


def run_in(content: bytes, name: str, added: Collection[str] = ()) -> CheckedRun:
    """Return the run in the content of a file, compressed or not.

    Args:
        content: The content.
        name: The name of the file, for messages.
        added: The names of fields that a subclass of the tracker added.

    Raises:
        InvalidRunError: There is no run in it; the message begins with the name of the file.
    """
    try:
        return built_at_once(lambda: _run_in(content, added))
    except InvalidRunError as error:
        raise InvalidRunError(f"{name}: {error}") from error.__cause__


def _run_in(content: bytes, added: Collection[str]) -> CheckedRun:
    data = _parsed(content)
    expect(data, dict, "the run")
    for field in ("routine_executions", "event_flow"):
        if field not in data:
            raise InvalidRunError(f"the run: no field {field!r}")
    return checked_run(data, added=added)


def _parsed(content: bytes) -> Any:
    try:
        if content.startswith(b"\x1f\x8b"):
            content = _unpacked(content)
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise InvalidRunError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidRunError("nested too deep to be a run") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidRunError(f"damaged gzip file: {error}") from error
    except ValueError as error:  # bytes that are no text, a number of too many digits
        raise InvalidRunError(f"not JSON: {error}") from error


def _unpacked(content: bytes) -> bytes:
    # Records shrink to a tenth or a fiftieth; a small file made to fill the memory, to a thousandth.
    limit = max(200 * len(content), _SMALL_RUN)
    with gzip.GzipFile(fileobj=BytesIO(content)) as file:
        unpacked = file.read(limit + 1)
    if len(unpacked) > limit:
        raise InvalidRunError(f"unpacks to more than {limit} bytes, which no run of that size does; unpack it yourself")
    return unpacked


def write_run(path: str | bytes | os.PathLike[Any], pieces: Iterable[str]) -> None:
    """Write text to a file at once, in UTF-8: whatever happens, it holds what it held, or all of the text.

    Raises:
        OSError: The system does not take it.
    """
    given = os.fsdecode(path)
    try:
        status: os.stat_result | None = os.stat(given)
    except FileNotFoundError:
        status = None
    packed = given.endswith(".gz")
    if not os.path.basename(given) or (status and stat.S_ISDIR(status.st_mode)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), given)
    if status and not stat.S_ISREG(status.st_mode):  # a device or a pipe holds nothing that could be torn
        with open(given, "wb") as file:
            _write(file, pieces, packed)
        return
    target = os.path.realpath(given)
    folder, name = os.path.split(target)
    _remove_litter(folder, name)
    with _temporary(folder, name) as (file, temporary):
        if status:
            _give(temporary, status)
        _write(file, pieces, packed)
        file.flush()
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows renames no open file
        os.replace(temporary, target)
    _sync_folder(folder)


def _give(temporary: str, status: os.stat_result) -> None:
    """Give a file the group, the owner and the permissions of another, as far as the system lets us."""
    for owner in ((-1, status.st_gid), (status.st_uid, -1)):
        with suppress(OSError, AttributeError):  # Windows has no owners
            os.chown(temporary, *owner)
    os.chmod(temporary, stat.S_IMODE(status.st_mode))


def _write(file: IO[bytes], pieces: Iterable[str], packed: bool) -> None:
    if packed:
        # Without a name and a time in it, the same run gives the same file.
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packer:
            packer.writelines(piece.encode() for piece in pieces)
    else:
        file.writelines(piece.encode() for piece in pieces)


@contextmanager
def _temporary(folder: str, name: str) -> Iterator[tuple[IO[bytes], str]]:
    """Open a new file in a folder, which is removed if it is not renamed. It is locked for as long as it is open."""
    while True:
        temporary = os.path.join(folder, f"{_litter_prefix(name)}{secrets.token_hex(8)}.saving")
        # As `open` creates it, but never one that is there. The umask decides who may read it.
        file = open(temporary, "xb")  # noqa: SIM115 - closed below
        try:
            if _lock(file, wait=True) and not os.fstat(file.fileno()).st_nlink:
                continue  # taken for litter by another process before it was locked
            yield file, temporary
            return
        except BaseException:
            with suppress(OSError):
                file.close()  # writes what is left, which fails once more on a full disk
            with suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            file.close()


def _remove_litter(folder: str, name: str) -> None:
    """Remove what processes left that were killed while they saved to this file: it is there, and nobody locks it."""
    if fcntl is None:
        return
    litter = re.compile(re.escape(_litter_prefix(name)) + "[0-9a-f]{16}[.]saving")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if litter.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as file:
                    if _lock(file, wait=False):
                        os.unlink(entry.path)


def _litter_prefix(name: str) -> str:
    return f".{name[:50]}."  # a file system takes names of 255 bytes


def _lock(file: IO[bytes], wait: bool) -> bool:
    """Lock a file until it is closed or its process is gone; return False where that does not succeed."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _sync_folder(folder: str) -> None:
    """Have the rename survive a loss of power, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
