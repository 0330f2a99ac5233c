"""A DNS server on loopback that answers over UDP and TCP, or does not.

with NameServer() as server:
    server.holds("db.example", "A", "10.0.0.1", ttl=60)
    server.resolver()
"""

import socket
import socketserver
import struct
import threading
from dataclasses import dataclass, field
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset

SOA = "ns.example. hostmaster.example. 1 3600 600 86400 {minimum}"


@dataclass
class NameServer:
    """Answers what it was told to hold; a name that it never heard of does not exist."""

    records: dict[tuple[str, str], list[dns.rrset.RRset]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    minimum: int = 60
    cut: bool = False

    def __enter__(self) -> Self:
        # One port for both: what is free for one is nearly always free for the other.
        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._over_tcp())
        self._udp = socketserver.ThreadingUDPServer(self._tcp.server_address, self._over_udp())
        self._threads = [
            threading.Thread(target=each.serve_forever, args=(0.02,))
            for each in (self._tcp, self._udp)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server, thread in zip((self._tcp, self._udp), self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def resolver(self) -> dns.resolver.Resolver:
        """A resolver that asks this server alone."""
        made = dns.resolver.Resolver(configure=False)
        made.nameservers = ["127.0.0.1"]
        made.port = self._tcp.server_address[1]
        return made

    def holds(self, name: str, family: str, *values: str, ttl: int = 60) -> None:
        """From now on a name has these records of a type, and no others of it."""
        made = dns.rrset.from_text(f"{name}.", ttl, "IN", family, *values) if values else None
        self.records[name, family] = [made] if made else []

    def points(self, name: str, target: str, family: str, *values: str, ttl: int = 60) -> None:
        """A name that is an alias; the server follows it."""
        self.records[name, family] = [
            dns.rrset.from_text(f"{name}.", 3600, "IN", "CNAME", f"{target}."),
            dns.rrset.from_text(f"{target}.", ttl, "IN", family, *values),
        ]

    def answer(self, wire: bytes, *, datagram: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        family = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, family))
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        if self.cut and datagram:
            response.flags |= dns.flags.TC
            return response.to_wire()
        response.answer = list(self.records.get((name, family), ()))
        if not response.answer:
            soa = SOA.format(minimum=self.minimum)
            response.authority = [dns.rrset.from_text("example.", 3600, "IN", "SOA", soa)]
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    def _over_udp(server) -> type[socketserver.BaseRequestHandler]:  # noqa: N805 - `self` is taken
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, line = self.request
                answer = server.answer(wire, datagram=True)
                if answer is not None:
                    line.sendto(answer, self.client_address)

        return Handler

    def _over_tcp(server) -> type[socketserver.BaseRequestHandler]:  # noqa: N805 - `self` is taken
        class Handler(socketserver.BaseRequestHandler):
            request: socket.socket

            def handle(self) -> None:
                (length,) = struct.unpack("!H", self.request.recv(2))
                answer = server.answer(self.request.recv(length), datagram=False)
                if answer is not None:
                    self.request.sendall(struct.pack("!H", len(answer)) + answer)

        return Handler
