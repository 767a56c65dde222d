#!/usr/bin/python3
"""What a broken or hostile client sends, in tables: each row is refused with its code and place, and the coordinator
goes on serving. The numbers are those of docs/bad-input.md. Usage: hostile_client_test.py HOST:PORT PID [unittest
arguments]; PID is the coordinator's."""

import re
import socket
import sys
import time
import unittest
import uuid
from pathlib import Path

import grpc

from python_client_test import Client

ADDRESS, PID = sys.argv[1], int(sys.argv[2])
SERVICE = "/pgconvoy.v1.MigrationService/"
WORK = "/pgconvoy.v1.WorkerService/Work"
DEADLINE_S = 30
MAX_MESSAGE = 4 << 20
# What the coordinator may grow by, whatever it is sent.
MOST_GROWTH_KIB = 128 << 10
Code = grpc.StatusCode


def resident_kib():
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{PID}/status").read_text())[1])


def varint(number):
    out = b""
    number &= (1 << 64) - 1
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """One protobuf field: bytes and strings by length, whole numbers as varints."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested(depth):
    data = b""
    for _ in range(depth):
        data = field(1, data)
    return data


def code_in(error):
    """The PGC code of a call that failed; "" when gRPC itself refused it."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return re.search(rb"PGC-[A-Z0-9-]+", value)[0].decode()
    return ""


def hello(worker_id="hostile", incarnation="1", slots=1, protocol=1):
    return field(1, field(1, worker_id) + field(2, incarnation) + field(5, slots) + field(9, protocol))


def report(**fields):
    numbers = {"migration_id": 1, "project_ref": 2, "fence": 3, "seq": 4, "phase_started": 10, "progress": 12}
    given = {"migration_id": "1", "project_ref": "a", "fence": 1, "seq": 1, "phase_started": field(1, 1), **fields}
    return field(3, b"".join(field(numbers[name], value) for name, value in given.items() if value is not None))


def setUpModule():
    # It answers calls a moment before it leads.
    with grpc.insecure_channel(ADDRESS) as channel:
        for _ in range(100):
            try:
                channel.unary_unary(SERVICE + "ListMigrations")(b"", timeout=DEADLINE_S)
                return
            except grpc.RpcError:
                time.sleep(0.1)


class Hostile(unittest.TestCase):
    def setUp(self):
        self.before = resident_kib()
        # So that no other test's connection is used.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(ADDRESS, options=options)
        grpc.channel_ready_future(self.channel).result(timeout=DEADLINE_S)

    def tearDown(self):
        self.channel.close()
        self.assert_serves()
        self.assertLess(resident_kib() - self.before, MOST_GROWTH_KIB)

    def assert_serves(self):
        with grpc.insecure_channel(ADDRESS, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            channel.unary_unary(SERVICE + "ListMigrations")(b"", timeout=DEADLINE_S)

    def call(self, method, request=b"", **options):
        options.setdefault("timeout", DEADLINE_S)
        path = method if method.startswith("/") else SERVICE + method
        return self.channel.unary_unary(path)(request, **options)

    def work(self, *messages):
        return list(self.channel.stream_stream(WORK)(iter(messages), timeout=DEADLINE_S))

    def refused(self, call, status, code="", text=""):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertEqual((error.code(), code_in(error)), (status, code), error.details())
        self.assertIn(text, error.details())


class Messages(Hostile):
    """73 to 77, 88, 90, 93: what gRPC and protobuf refuse by themselves."""

    def test_malformed_messages(self):
        table = [
            (73, field(2, b"x" * MAX_MESSAGE), Code.RESOURCE_EXHAUSTED),
            # What protobuf cannot read, gRPC 1.51 answers with this.
            (75, field(1, b"\xff\xfe"), Code.UNIMPLEMENTED),
            (90, field(1, b"1")[:-1], Code.UNIMPLEMENTED),
            (90, b"\xff" * 32, Code.UNIMPLEMENTED),
            (90, b"\x0a\xff\xff\xff\xff\x0f", Code.UNIMPLEMENTED),
        ]
        for number, request, status in table:
            with self.subTest(number=number, size=len(request)):
                self.refused(lambda request=request: self.call("GetMigration", request), status)

    def test_deep_nesting_and_many_fields(self):
        # 90: unknown groups and fields are skipped by a parser of bounded depth; what is left is no migration.
        for request in nested(10_000)[-1 << 16:], b"\x80\x01\x00" * (1 << 20), b"\xab\x01" * 200 + b"\xac\x01" * 200:
            with self.subTest(size=len(request)), self.assertRaises(grpc.RpcError) as caught:
                self.call("GetMigration", request)
            self.assertIn(caught.exception.code(), (Code.UNIMPLEMENTED, Code.INVALID_ARGUMENT))

    def test_74_much_metadata(self):
        self.refused(lambda: self.call("ListMigrations", metadata=[("x-large", "y" * (64 << 10))]),
                     Code.RESOURCE_EXHAUSTED)

    def test_77_unknown_fields_are_passed_over(self):
        self.assertEqual(self.call("ListMigrations", field(1000, "from a newer client")), b"")

    def test_88_a_gzip_bomb_is_not_unpacked(self):
        bomb = field(1, b"\0" * (256 << 20))
        self.refused(lambda: self.call("GetMigration", bomb, compression=grpc.Compression.Gzip), Code.UNIMPLEMENTED)

    def test_93_unknown_methods(self):
        for path in SERVICE + "DropEverything", "/pgconvoy.v9.MigrationService/GetMigration", "/", "/x":
            with self.subTest(path=path):
                self.refused(lambda path=path: self.call(path), Code.UNIMPLEMENTED)


class Arguments(Hostile):
    """76, 78, 86: fields that protobuf takes and the service must not."""

    def test_arguments(self):
        argument = (Code.INVALID_ARGUMENT, "PGC-API-ARGUMENT")
        ref = (Code.INVALID_ARGUMENT, "PGC-API-REF")
        token = (Code.INVALID_ARGUMENT, "PGC-API-PAGE-TOKEN")
        missing = (Code.NOT_FOUND, "PGC-API-NOT-FOUND")
        table = [
            (76, "GetMigration", b"", argument, "migration id: is not a positive decimal number"),
            (76, "GetMigration", field(1, "0"), argument, "migration id"),
            (78, "GetMigration", field(1, "-1"), argument, "migration id"),
            (78, "GetMigration", field(1, "9223372036854775808"), argument, "migration id"),
            (76, "GetMigration", field(1, "1\x07"), argument, "migration id"),
            (76, "GetMigration", field(1, "9223372036854775807"), missing, "9223372036854775807"),
            (76, "GetProject", field(1, "1"), ref, "project ref \"\" is not valid"),
            (76, "GetProject", field(1, "1") + field(2, "a\x00b"), ref, "a\\x00b"),
            (76, "GetProject", field(1, "1") + field(2, "../a"), ref, "../a"),
            (76, "GetProject", field(1, "1") + field(2, "\u202eb"), ref, "project ref"),
            (76, "ListProjects", field(1, "1") + field(4, 99), argument, "states"),
            (76, "PauseMigration", field(1, "1") + field(3, "a\nb"), argument, "actor: holds control characters"),
            (76, "PauseMigration", field(1, "1") + field(2, "\0"), argument, "reason"),
            (76, "PauseMigration", field(1, "1") + field(2, "x" * 100_000), argument, "reason: is longer than"),
            (76, "VerifyBackup", field(1, "a/b"), argument, "backup_id: is not <ref>/<number>"),
            (76, "VerifyBackup", field(1, "../../etc/1"), argument, "backup_id"),
            (86, "ListMigrations", field(1, -1), argument, "page_size: is negative"),
            (86, "ListMigrations", field(2, "forged"), token, "page_token"),
            (86, "ListMigrations", field(2, "-1"), token, "page_token"),
            (86, "ListMigrations", field(2, "'; DROP TABLE pgconvoy.migration; --"), token, "page_token"),
            (86, "ListEvents", field(4, "99999999999999999999"), token, "page_token"),
            (86, "ListProjects", field(1, "1") + field(3, "%00"), token, "page_token"),
            (86, "ListBatches", field(1, "1") + field(3, "%00"), token, "page_token"),
            (86, "ListBackups", field(4, "%00"), token, "page_token"),
        ]
        for number, method, request, (status, code), text in table:
            with self.subTest(number=number, method=method, request=request[:40]):
                self.refused(lambda m=method, r=request: self.call(m, r), status, code, text)

    def test_86_a_page_larger_than_any_is_a_full_page(self):
        self.assertEqual(self.call("ListMigrations", field(1, 1_000_000_000)), b"")


class Deadlines(Hostile):
    """72: unary calls that would last for ever."""

    # Read the whole event log, or have a worker read or change files and servers.
    WORK_OF_HOURS = {"VerifyEvents", "VerifyBackup", "ExportBackup", "PruneBackups", "CleanOrphans", "RepairProject",
                     "ProveConservation"}

    def setUp(self):
        super().setUp()
        client = Client(ADDRESS)
        client.learn(SERVICE.strip("/"))
        self.methods = client.pool.FindServiceByName(SERVICE.strip("/")).methods
        client.channel.close()

    def test_every_unary_method_wants_one_of_at_most_an_hour_or_a_day(self):
        unary = [one.name for one in self.methods if not one.client_streaming and not one.server_streaming]
        self.assertGreater(len(unary), 20)
        for method in unary:
            hours = 24 if method in self.WORK_OF_HOURS else 1
            for timeout, text in (None, "deadline: is missing"), ((hours + 1) * 3600, f"is more than {hours}h away"):
                with self.subTest(method=method, timeout=timeout):
                    self.refused(lambda m=method, t=timeout: self.call(m, timeout=t), Code.INVALID_ARGUMENT,
                                 "PGC-API-DEADLINE", text)

    def test_an_hour_is_taken(self):
        for timeout in 1, 30, 3599.5, 3600:
            with self.subTest(timeout=timeout):
                self.assertEqual(self.call("ListMigrations", timeout=timeout), b"")

    def test_streams_and_health_checks_need_none(self):
        self.assertEqual(list(self.channel.stream_stream(WORK)(iter([]))), [])
        self.refused(lambda: self.channel.stream_unary(SERVICE + "SubmitMigration")(iter([])), Code.INVALID_ARGUMENT,
                     "PGC-API-ARGUMENT", "must begin with a header")
        for method in (one.name for one in self.methods if one.server_streaming):
            with self.subTest(method=method), self.assertRaises(grpc.RpcError) as caught:
                list(self.channel.unary_stream(SERVICE + method)(b""))
            self.assertNotIn(code_in(caught.exception), ("", "PGC-API-DEADLINE"))
        self.assertEqual(self.call("/grpc.health.v1.Health/Check", timeout=None), field(1, 1))


class Submissions(Hostile):
    """76, 82, 87: the stream of a submission."""

    def submit(self, *messages, **options):
        options.setdefault("timeout", DEADLINE_S)
        return self.channel.stream_unary(SERVICE + "SubmitMigration")(iter(messages), **options)

    def test_streams_that_are_no_submission(self):
        some_id = str(uuid.uuid4())
        argument = (Code.INVALID_ARGUMENT, "PGC-API-ARGUMENT")
        table = [
            (87, [], argument, "must begin with a header"),
            (76, [b""], argument, "one header, then chunks"),
            (76, [field(2, b"")], argument, "one header, then chunks"),
            (76, [field(1, field(1, "7"))], argument, "header.request_id: is not a UUID"),
            (76, [field(1, field(1, some_id) + field(3, -1))], argument, "header.batch_size: must be 0 to 10000"),
            (76, [field(1, field(1, some_id) + field(4, "a\x1bb"))], argument, "actor: holds control characters"),
            (76, [field(1, field(1, some_id))], (Code.INVALID_ARGUMENT, "PGC-PLAN-JSON"), ""),
            (76, [field(1, field(1, some_id) + field(2, "{}"))], (Code.INVALID_ARGUMENT, "PGC-PLAN-INVALID"), ""),
        ]
        for number, messages, (status, code), text in table:
            with self.subTest(number=number, messages=messages):
                self.refused(lambda m=messages: self.submit(*m), status, code, text)


class Workers(Hostile):
    """78, 79, 81, 84, 85, 87, 91: what a worker may not say."""

    def test_streams_that_end_at_once(self):
        argument = (Code.INVALID_ARGUMENT, "PGC-API-ARGUMENT")
        protocol = (Code.INVALID_ARGUMENT, "PGC-RPC-PROTOCOL")
        version = (Code.FAILED_PRECONDITION, "PGC-WORKER-PROTOCOL")
        table = [
            (84, [field(2, b"")], protocol, "the first message must be Hello"),
            (84, [report()], protocol, "the first message must be Hello"),
            (76, [b""], protocol, "the first message must be Hello"),
            (76, [hello(worker_id="")], argument, "worker_id: is empty"),
            (76, [hello(worker_id="a\nb")], argument, "worker_id: holds control characters"),
            (76, [hello(incarnation="")], argument, "incarnation: is empty"),
            (76, [hello(slots=0)], argument, "slots: must be 1 to 256"),
            (78, [hello(slots=-1)], argument, "slots: must be 1 to 256"),
            (91, [hello(protocol=0)], version, "the worker speaks version 0 of the protocol"),
            (91, [hello(protocol=1000)], version, "this coordinator versions 1 to 1"),
        ]
        for number, messages, (status, code), text in table:
            with self.subTest(number=number, messages=messages):
                self.refused(lambda m=messages: self.work(*m), status, code, text)

    def test_a_second_hello_ends_the_stream(self):
        self.refused(lambda: self.work(hello(), hello()), Code.INVALID_ARGUMENT, "PGC-RPC-PROTOCOL", "a second Hello")

    def test_reports_are_refused_one_by_one(self):
        table = [
            (78, {"fence": 0}, b"ILLEGAL", b"fence, seq: must be positive"),
            (78, {"fence": -1}, b"ILLEGAL", b"fence, seq: must be positive"),
            (78, {"fence": 1 << 63}, b"ILLEGAL", b"fence, seq: must be positive"),
            (78, {"seq": 0}, b"ILLEGAL", b"fence, seq: must be positive"),
            (76, {"project_ref": ""}, b"ILLEGAL", b"is not valid"),
            (76, {"migration_id": "x"}, b"ILLEGAL", b"migration id"),
            (76, {"phase_started": None}, b"ILLEGAL", b"body: is not set"),
            (76, {"phase_started": field(1, 99)}, b"ILLEGAL", b"phase: is not a phase"),
            (79, {}, b"LEASE_LOST", b""),
            (81, {"fence": 77}, b"LEASE_LOST", b""),
            (85, {"phase_started": None, "progress": field(1, -1)}, b"LEASE_LOST", b""),
        ]
        for number, fields, reason, text in table:
            with self.subTest(number=number, fields=fields):
                answers = self.work(hello(), report(**fields))
                acks = [one for one in answers if one[:1] == b"\x1a"]
                self.assertEqual(len(acks), 1, answers)
                self.assertIn(reason, acks[0])
                self.assertIn(text, acks[0])

    def test_87_a_stream_that_is_closed_at_once_is_closed(self):
        self.assertEqual(self.work(), [])

    def test_87_many_idle_streams_starve_nobody(self):
        # One connection has at most 100 streams at a time; the others wait in the client.
        calls = [self.channel.stream_stream(WORK)(iter([hello(worker_id=f"idle-{n}")]), timeout=DEADLINE_S)
                 for n in range(1000)]
        self.assert_serves()
        for call in calls:
            call.cancel()


class Bytes(unittest.TestCase):
    """89: what is no HTTP/2."""

    def test_what_is_no_http2_is_closed(self):
        host, port = ADDRESS.rsplit(":", 1)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        table = {
            "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "TLS": bytes.fromhex("16030100a5010000a1") + b"\x03" * 160,
            "zeros": b"\0" * 65536,
            "a frame that is too long": preface + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
            "SETTINGS on a stream": preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x01",
            "HEADERS that do not decode":
                preface + b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x04\x01\x04\0\0\0\x01\xff\xff\xff\xff",
        }
        for name, data in table.items():
            with self.subTest(name), socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
                connection.sendall(data)
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        Client(ADDRESS).services()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
