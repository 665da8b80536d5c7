"""Where connections come from: the endpoint's addresses, one after the other, and TLS with its certificates."""

from __future__ import annotations

import errno
import math
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from s3batch.base.thread_wait import call_on_thread
from s3batch.files.bounded import is_odd_file

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from s3batch.s3.endpoint import Endpoint

RESOLVE_EVERY = 60.0
"""Seconds; S3's names have a short life and many addresses."""
_LONGEST_LABEL = 63
"""Characters between two dots of a host name."""
_UNDER_WAY = (0, errno.EINPROGRESS)

Address = tuple[int, Any]
"""The address family, and the address for :meth:`socket.socket.connect`."""


class BundleError(OSError):
    """There is nothing to verify certificates with: trying again is no use."""


class Dialer:
    """Opens non-blocking connections to one endpoint. An address that failed is asked last."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._addresses: deque[Address] = deque()
        self._resolved = 0.0
        self._context: ssl.SSLContext | None = None
        self.session: ssl.SSLSession | None = None
        """A TLS session to go on with: it saves the costly half of a handshake."""

    def open(self) -> tuple[socket.socket, Address]:
        """Return a socket that is being connected. Raises OSError if there is no address to try."""
        self._resolve()
        refused = OSError("there is no address")
        for _ in range(len(self._addresses)):
            address = self._addresses[0]
            try:
                return self._begin(address), address
            except OSError as error:
                refused = error
                self.failed(address)
        raise refused

    def failed(self, address: Address) -> int:
        """Ask ``address`` last from now on. How many there are."""
        if self._addresses and self._addresses[0] == address:
            self._addresses.rotate(-1)
        return len(self._addresses)

    def _begin(self, address: Address) -> socket.socket:
        sock = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._endpoint.tls:
                sock = self._wrapped(sock)
            sock.setblocking(False)
            code = sock.connect_ex(address[1])
        except BaseException:
            sock.close()
            raise
        if code not in _UNDER_WAY:
            sock.close()
            raise OSError(code, os.strerror(code))
        return sock

    def _wrapped(self, sock: socket.socket) -> ssl.SSLSocket:
        if self._context is None:
            self._context = tls_context(self._endpoint.ca_bundle)
        return self._context.wrap_socket(
            sock, server_hostname=self._endpoint.server_name, do_handshake_on_connect=False, session=self.session
        )

    def _resolve(self) -> None:
        now = self._clock()
        if self._addresses and now - self._resolved < RESOLVE_EVERY:
            if self._endpoint.url == "":  # Amazon's many addresses are there to be used
                self._addresses.rotate(-1)
            return
        try:
            host = _encode_host(self._endpoint.server_name)
            found = _resolve_host(host, self._endpoint.port)
        except UnicodeError as error:
            raise OSError(errno.EINVAL, f"{self._endpoint.server_name!r} is not a valid host name") from error
        except OSError:
            if not self._addresses:  # the addresses of a minute ago are better than none
                raise
        else:
            self._addresses = deque((family, address) for family, _, _, _, address in found)
        self._resolved = now


def _resolve_host(host: bytes, port: int) -> list[Any]:
    """Return the addresses of a host. The system's resolver may take a minute, and no signal would interrupt it."""

    def ask() -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    return ask() if _is_known_here(host) else call_on_thread(ask, math.inf)[0]


def _is_known_here(host: bytes) -> bool:
    """Return true for an address, and for this machine: the resolver asks no server about them."""
    return host == b"localhost" or b":" in host or host.replace(b".", b"").isdigit()


def _encode_host(name: str) -> bytes:
    """Return a host name, which has been in ASCII, as bytes: for a text Python imports idna and its tables.

    Raises UnicodeError for a name that can be none, as idna does.
    """
    if not all(0 < len(label) <= _LONGEST_LABEL for label in name.removesuffix(".").split(".")):
        raise UnicodeError("label empty or too long")
    return name.encode("ascii")


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Verify with ``ca_bundle``, or with the system's certificates, or with botocore's where a system has none.

    Raises :class:`BundleError` that names the file which cannot be used.
    """
    import ssl  # noqa: PLC0415 - a plain endpoint needs none of it

    bundle = ca_bundle or ("" if _system_has_certificates() else _botocore_bundle())
    try:
        if bundle and is_odd_file(bundle):  # of a worker on another machine
            raise OSError(errno.EINVAL, "it is a pipe or a device")
        return ssl.create_default_context(cafile=bundle or None)
    except OSError as error:
        words = error.strerror or "it holds no certificate"
        raise BundleError(errno.EINVAL, f"certificates {bundle!r} (AWS_CA_BUNDLE) cannot be used: {words}") from error


def _system_has_certificates() -> bool:
    import ssl  # noqa: PLC0415 - as above

    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return True
    try:
        return bool(paths.capath and os.listdir(paths.capath))
    except OSError:
        return False


def _botocore_bundle() -> str:
    """Return the path of botocore's CA bundle, found without importing it."""
    from importlib.util import find_spec  # noqa: PLC0415 - few systems are without certificates

    spec = find_spec("botocore")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bundle = os.path.join(place, "cacert.pem")
        if os.path.exists(bundle):
            return bundle
    return ""
