"""External lists, which firewalls fetch from any web server, without a key."""

import hashlib

from .request import Request
from .server import TEXT, Answer
from .state import State


def answer_list(state: State, request: Request) -> Answer:
    """Return the list's text, or only its ETag if the client has it already."""
    with state.lock:
        found = state.lists.get(request.external_list)
    if found is None:
        return Answer(b"there is no such list\n", 404, TEXT)
    body = found.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()}"'
    known = {each.strip().removeprefix("W/") for each in request.if_none_match.split(",")}
    headers = (("ETag", tag),)
    if known & {tag, "*"}:
        return Answer(b"", 304, headers=headers)
    return Answer(body, 200, TEXT, headers)
