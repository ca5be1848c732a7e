#!/usr/bin/env python3
"""Says wrong things to a peers' port as a paired cluster could.

    wire_abuse.py PORT STATE_DIR CLUSTER

STATE_DIR is the state directory of the paired cluster whose identity is used, CLUSTER its id. Every
abuse must be answered in a clear way, or by an end of the connection, within SECONDS; afterwards
the port must still serve, and nothing of what was sent may have been kept. Prints one line per
abuse.
"""
import base64
import json
import socket
import ssl
import struct
import sys
import uuid

SECONDS = 10
PORT, STATE, CLUSTER = int(sys.argv[1]), sys.argv[2], sys.argv[3]
VM, VOLUME = str(uuid.uuid4()), str(uuid.uuid4())
SNAPSHOT = str(uuid.uuid4())
DISK_BYTES = 16 << 20


def connect():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(f"{STATE}/identity/cert.pem", f"{STATE}/identity/key.pem")
    plain = socket.create_connection(("127.0.0.1", PORT), SECONDS)
    return context.wrap_socket(plain, server_hostname="understudy")


def read_head(tls):
    data = b""
    while b"\r\n\r\n" not in data:
        more = tls.recv(4096)
        if not more:
            return None, b""
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    return head.decode(), rest


def answer_to(raw):
    """(status, body) of what a raw request gets; (0, "") when the connection just ends."""
    with connect() as tls:
        try:
            tls.sendall(raw)
        except OSError:
            pass  # answered and closed before all was sent
        try:
            head, body = read_head(tls)
            if head is None:
                return 0, ""
            length = next((int(line.split(":")[1]) for line in head.split("\r\n")
                           if line.lower().startswith("content-length")), 0)
            while len(body) < length and (more := tls.recv(65536)):
                body += more
        except (ConnectionError, ssl.SSLError):
            return 0, ""
        return int(head.split()[1]), body.decode()


def call(method, path, body=None):
    text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
    return answer_to(head.encode() + text)


def expect(what, got, statuses, kind=None):
    status, body = got
    if status not in statuses:
        sys.exit(f"{what}: status {status}, not one of {statuses}: {body[:300]}")
    if status:
        error = json.loads(body)["error"]
        if kind and error["kind"] != kind or not error["text"]:
            sys.exit(f"{what}: {body[:300]}")
    print(f"{what}: {status or 'connection ended'}")


def stored_zstd(text):
    """One zstd frame that states its size, its content as it is (RFC 8878: a raw block)."""
    data = text.encode()
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))
    frame += struct.pack("<I", len(data) << 3 | 1)[:3] + data
    return base64.b64encode(frame).decode()


def offer(**changes):
    disk = {"target": "vda", "volume": VOLUME, "pool": "vms", "size": DISK_BYTES}
    snapshot = {"id": SNAPSHOT, "vm": VM, "name": "abuse", "parent": None,
                "taken": "2026-01-01T00:00:00.000Z", "consistency": "crash", "epoch": 1,
                "origin": CLUSTER, "disks": [disk]}
    request = {"vm": VM, "vm_name": "abuse", "base": None, "snapshot": snapshot,
               "ownership": {"epoch": 1, "owner": CLUSTER, "phase": "owned"},
               "definition": {"domain_xml_zstd": stored_zstd("<domain/>"),
                              "nvram_zstd": stored_zstd("")}}
    request["snapshot"] |= changes.pop("snapshot", {})
    disk |= changes.pop("disk", {})
    return request | changes


def abuse_http():
    expect("garbage instead of HTTP", answer_to(bytes(range(256)) * 8), {400}, "invalid")
    expect("a header that never ends", answer_to(b"GET / HTTP/1.1\r\nX: " + b"x" * 70000), {431})
    expect("a body of a terabyte", answer_to(
        b"POST /peer/v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"),
        {400, 413}, "invalid")
    expect("a body larger than its call's", answer_to(
        b"POST /peer/v1/ownership HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"),
        {400}, "invalid")
    expect("a body of unknown length", answer_to(
        b"POST /peer/v1/pair HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n"),
        {400}, "invalid")
    expect("two lengths", answer_to(b"POST /peer/v1/pair HTTP/1.1\r\nHost: x\r\n"
                                    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), {400})
    for path in ("/", "/v1/vms", "/peer/v1/vms/x", f"/peer/v1/transfers/{VM}/../..",
                 "/peer/v1/%00"):
        expect(f"GET {path}", call("GET", path), {400, 404})
    status, body = call("GET", f"/peer/v1/vms/{VM}")
    if status != 200 or json.loads(body)["known"]:
        sys.exit(f"an unknown VM: {status} {body}")


def abuse_bodies():
    depth = b"[" * 100000
    for path in ("pair", "capabilities", "ownership", "transfers", f"transfers/{VM}/commit"):
        for body in (b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"vms": 7, "pools": 7}', depth):
            expect(f"{path} with {body[:12]!r}", call("POST", f"/peer/v1/{path}", body),
                   {400}, "invalid")
    broken = {
        "another owner": (offer(ownership={"epoch": 1, "owner": VM, "phase": "owned"}), {403}),
        "no epoch": (offer(ownership={"epoch": -1, "owner": CLUSTER, "phase": "owned"}), {400}),
        "a name with a line break": (offer(vm_name="a\nb"), {400}),
        "a name of 256 bytes": (offer(vm_name="n" * 256), {400}),
        "a disk of 2^60 bytes": (offer(disk={"size": 1 << 60}), {400}),
        "a disk without size": (offer(disk={"size": 0}), {400}),
        "a volume that is a path": (offer(disk={"volume": "../../etc/passwd"}), {400}),
        "another VM's snapshot": (offer(snapshot={"vm": VOLUME}), {400}),
        "itself as its base": (offer(base=SNAPSHOT), {400}),
        "a base that is not here": (offer(base=VM), {409}),
        "300 disks": (offer(snapshot={"disks": [
            {"target": f"d{n}", "volume": str(uuid.uuid4()), "pool": "vms", "size": 4096}
            for n in range(300)]}), {400}),
        "no zstd": (offer(definition={"domain_xml_zstd": "AAAA", "nvram_zstd": "AAAA"}), {400}),
        "a definition that claims 4 GiB": (offer(definition={
            "domain_xml_zstd": base64.b64encode(b"\x28\xb5\x2f\xfd\xa0" + b"\xff" * 8).decode(),
            "nvram_zstd": stored_zstd("")}), {400}),
    }
    for what, (request, statuses) in broken.items():
        expect(f"an offer with {what}", call("POST", "/peer/v1/transfers", request), statuses)


def check_of(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def frame(magic=b"USF1", kind=0, codec=0, disk=0, payload=b"", length=None, sequence=0, offset=0,
          content=None, frame_type=1, check=None):
    head = struct.pack("<4sBBBBIIQQQ16s", magic, frame_type, kind, codec, 0, disk,
                       len(payload) if length is None else length, sequence, offset,
                       len(payload) if content is None else content, b"\0" * 16)
    return head + struct.pack("<Q", check_of(head) if check is None else check) + payload


def abuse_frames():
    page = b"\x55" * 4096
    abuses = {
        "no magic": frame(magic=b"HTTP", payload=page),
        "a wrong check of the header": frame(check=1, payload=page),
        "a payload of 4 GiB": frame(length=0xFFFFFFFF, content=4096),
        "a chunk of 2 MiB": frame(payload=b"", length=2 << 20, content=2 << 20),
        "an unknown type": frame(frame_type=9, payload=page),
        "an unknown kind": frame(kind=7, payload=page),
        "an unknown codec": frame(codec=9, payload=page),
        "a disk that is not there": frame(disk=5, payload=page),
        "an offset beyond the disk": frame(offset=DISK_BYTES, payload=page),
        "an offset that wraps": frame(offset=(1 << 64) - 4096, payload=page),
        "an offset between blocks": frame(offset=100, payload=page),
        "a digest of something else": frame(payload=page),
        "a sequence far ahead": frame(sequence=1 << 40, payload=page),
        "zeroes of 2^63 bytes": frame(kind=1, content=1 << 63),
        "zstd that is none": frame(codec=2, payload=b"\x28\xb5\x2f\xfd" + b"\xff" * 60,
                                   content=4096),
        "lz4 that is none": frame(codec=1, payload=b"\xff" * 64, content=4096),
        "an ack from the source": frame(frame_type=3, payload=b"\0" * 48),
        "half a frame": frame(payload=page)[:100],
    }
    transfer = json.loads(call("POST", "/peer/v1/transfers", offer())[1])["id"]
    for attempt, (what, data) in enumerate(abuses.items(), 1):
        ended = frames_end(transfer, attempt, data, what == "half a frame")
        status, body = call("POST", "/peer/v1/transfers", offer())
        again = json.loads(body)
        if status != 200 or again["id"] != transfer:
            sys.exit(f"after {what}: {status} {body}")
        if again["durable"] != {"disk": 0, "offset": 0}:
            sys.exit(f"after {what} something is durable: {body}")
        print(f"a frame with {what}: {ended}")
    status, body = call("POST", f"/peer/v1/transfers/{transfer}/commit", {
        "attempt": 99, "totals": {"chunks": 0, "bytes": 0, "digest_high": 0, "digest_low": 0}})
    expect("a commit of an attempt that never was", (status, body), {409}, "conflict")
    if call("DELETE", f"/peer/v1/transfers/{transfer}")[0] != 200:
        sys.exit("the transfer cannot be abandoned")


def frames_end(transfer, attempt, data, cut):
    """How the channel ends after these bytes; the program fails when it does not."""
    with connect() as tls:
        tls.sendall(f"GET /peer/v1/transfers/{transfer}/channel?attempt={attempt} HTTP/1.1\r\n"
                    "Host: x\r\nConnection: Upgrade\r\nUpgrade: understudy-frames/1\r\n\r\n"
                    .encode())
        head, rest = read_head(tls)
        if head is None or " 101 " not in head:
            sys.exit(f"no channel: {head} {rest}")
        tls.sendall(data)
        if cut:
            return "cut off here"
        try:
            while more := tls.recv(65536):
                rest += more
        except (ConnectionError, ssl.SSLError):
            pass
        except TimeoutError:
            sys.exit("the channel stays open")
    if rest[:5] != b"USF1\x04":
        sys.exit(f"no error frame: {rest[:80]!r}")
    parts, rest = [], rest[64:]
    for _ in ("kind", "text"):
        size = struct.unpack("<H", rest[:2])[0]
        parts.append(rest[2:2 + size].decode())
        rest = rest[2 + size:]
    return ": ".join(parts)


abuse_http()
abuse_bodies()
abuse_frames()
