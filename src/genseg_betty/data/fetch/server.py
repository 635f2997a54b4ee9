"""What a server is asked for a file, and what its answer means: a file, a fault to wait out, or one to tell."""

import re
import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from genseg_betty.data.fetch.entries import Entry
from genseg_betty.errors import UserError

TIMEOUT = 60.0  # seconds without a byte
HEADERS = {"User-Agent": "genseg-betty", "Accept-Encoding": "identity"}
TO_WAIT_OUT = (408, 425, 429)  # too slow, too early, too often; as all that begin with 5
NO_SUCH_RANGE = 416


class BrokenTransfer(Exception):
    """A transfer that may be tried again."""


class SafeRedirects(request.HTTPRedirectHandler):
    """Follows redirections within https, within http and from http to https."""

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in {"https", urlsplit(req.full_url).scheme}:
            raise HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ask_for_file(entry: Entry, part: Path, done: int, state: Mapping[str, Any]) -> HTTPResponse:
    """The answer to a request for the file from byte `done` on; `state` is what was known of it then.

    Raises BrokenTransfer for a fault that may pass, UserError for another.
    """
    headers = HEADERS | _ask_for_rest(done, state)
    try:
        opener = request.build_opener(SafeRedirects)
        asked = request.Request(entry.url, headers=headers)
        response: HTTPResponse = opener.open(asked, timeout=TIMEOUT)
        return response
    except HTTPError as error:
        error.close()
        if error.code == NO_SUCH_RANGE and done:
            part.unlink()
            raise BrokenTransfer("the server has less of the file than was fetched, so it starts anew") from error
        raise _explain_answer(entry, part, error) from error
    except (OSError, HTTPException, ValueError, OverflowError) as error:  # the latter two: a false address
        raise _explain_silence(entry, part, error) from error


def _ask_for_rest(done: int, state: Mapping[str, Any]) -> dict[str, str]:
    """Headers by which a server sends the rest, if the file is still the one that was begun, else the whole."""
    if not done:
        return {}
    headers = {"Range": f"bytes={done}-"}
    tag = state.get("ETag") or ""
    is_weak = tag.startswith("W/") or not tag
    unchanged = state.get("Last-Modified") if is_weak else tag
    if unchanged:
        headers["If-Range"] = unchanged
    return headers


def _explain_answer(entry: Entry, part: Path, error: HTTPError) -> Exception:
    """What to raise for a server that answers with a fault."""
    if error.code in TO_WAIT_OUT or error.code >= 500:
        return BrokenTransfer(f"the server answered {error.code} {error.reason}")
    said = f" {error.msg}"
    if 300 <= error.code < 400:
        said = f" to {error.headers['Location']}, which is refused"
    return UserError(f"{entry.url}: the server answered {error.code}{said}. {suggest_browser(part)}")


def _explain_silence(entry: Entry, part: Path, error: Exception) -> Exception:
    """What to raise where no answer came."""
    reason = error.reason if isinstance(error, URLError) else error
    if not isinstance(reason, ssl.SSLCertVerificationError):
        return BrokenTransfer(f"no connection ({name_reason(reason)})")
    said = f"the server's certificate is not valid ({reason.verify_message}), so nothing was asked of it"
    return UserError(f"{entry.url}: {said}. {suggest_browser(part)}")


def read_extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Where in the file the answer begins, and the length of the file in bytes; None if it is not told."""
    if response.status != 206:
        told = response.headers.get("Content-Length", "")
        length = re.fullmatch(r"\d{1,18}", told)
        return 0, int(length[0]) if length else None
    told = response.headers.get("Content-Range", "")
    extent = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", told)
    if extent is None:
        raise BrokenTransfer("the server sends a part of the file and does not say which")
    start, total = extent.groups()
    return int(start), None if total == "*" else int(total)


def name_reason(error: object) -> str:
    """What an error says, or its kind where it says nothing."""
    return str(error) or type(error).__name__


def suggest_browser(path: Path) -> str:
    """How to get a file of a server that gives it to browsers alone; `path` may be that of the file's first part."""
    file = path.with_name(path.name.removesuffix(".part"))
    return f"You can also get it with a browser, save it as {file}, and fetch again: it is then checked and unpacked"
