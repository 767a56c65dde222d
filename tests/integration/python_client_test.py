#!/usr/bin/python3
"""A program that knows of pgconvoy only an address: it asks the server for its services and messages by reflection,
then lists migrations and follows the newest to its end. Usage: python_client_test.py HOST:PORT. Prints JSON lines,
each with one key that says what it holds. Debian's python3, because its modules come from Debian."""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
SERVICE = "pgconvoy.v1.MigrationService"
DEADLINE_S = 120


def reflection_messages():
    """Request and response of the reflection protocol; Debian has no Python package of it."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="reflection.proto", package="grpc.reflection.v1alpha",
                                              syntax="proto3")

    def message(name, *fields):
        added = file.message_type.add(name=name)
        for number, field_name, kind, repeated in fields:
            one = added.field.add(name=field_name, number=number,
                                  label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL)
            if isinstance(kind, str):
                one.type, one.type_name = field.TYPE_MESSAGE, f".{file.package}.{kind}"
            else:
                one.type = kind

    # The members of the oneof are all the same on the wire, so plain fields do.
    message("ServerReflectionRequest", (4, "file_containing_symbol", field.TYPE_STRING, False),
            (7, "list_services", field.TYPE_STRING, False))
    message("FileDescriptorResponse", (1, "file_descriptor_proto", field.TYPE_BYTES, True))
    message("ServiceResponse", (1, "name", field.TYPE_STRING, False))
    message("ListServiceResponse", (1, "service", "ServiceResponse", True))
    message("ServerReflectionResponse", (4, "file_descriptor_response", "FileDescriptorResponse", False),
            (6, "list_services_response", "ListServiceResponse", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return [factory.GetPrototype(pool.FindMessageTypeByName(f"{file.package}.ServerReflection{kind}"))
            for kind in ("Request", "Response")]


class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        grpc.channel_ready_future(self.channel).result(timeout=DEADLINE_S)
        self.request, self.response = reflection_messages()
        self.pool = descriptor_pool.DescriptorPool()
        self.factory = message_factory.MessageFactory(self.pool)

    def reflect(self, **question):
        call = self.channel.stream_stream(f"/{REFLECTION}/ServerReflectionInfo",
                                          request_serializer=self.request.SerializeToString,
                                          response_deserializer=self.response.FromString)
        return next(call(iter([self.request(**question)]), timeout=DEADLINE_S))

    def services(self):
        return [one.name for one in self.reflect(list_services="*").list_services_response.service]

    def learn(self, symbol):
        files = {}
        for data in self.reflect(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            files[file.name] = file

        def add(name):
            file = files.pop(name, None)
            if file is not None:
                for dependency in file.dependency:
                    add(dependency)
                self.pool.Add(file)

        for name in list(files):
            add(name)

    def call(self, method, **fields):
        described = self.pool.FindServiceByName(SERVICE).methods_by_name[method]
        request = self.factory.GetPrototype(described.input_type)
        response = self.factory.GetPrototype(described.output_type)
        kind = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        return kind(f"/{SERVICE}/{method}", request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString)(request(**fields), timeout=DEADLINE_S)


def say(what, value):
    print(json.dumps({what: value}), flush=True)


def as_json(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True, including_default_value_fields=True)


def projects(client, migration):
    """All of them, a page of one at a time."""
    token = ""
    while True:
        page = client.call("ListProjects", migration_id=migration, page_size=1, page_token=token)
        yield from page.projects
        token = page.next_page_token
        if not token:
            return


def main():
    client = Client(sys.argv[1])
    say("services", client.services())
    client.learn(SERVICE)
    migrations = client.call("ListMigrations").migrations
    say("migrations", [one.id for one in migrations])
    newest = max(migrations, key=lambda one: int(one.id))
    for migration in client.call("WatchMigration", id=newest.id):
        say("watched", as_json(migration))
    say("projects", [as_json(one) for one in projects(client, newest.id)])
    say("workers", [as_json(one) for one in client.call("ListWorkers").workers])
    try:
        client.call("GetMigration", id="999999")
    except grpc.RpcError as error:
        details = {key: value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"}
        say("error", {"status": error.code().name, "message": error.details(),
                      "details": details["grpc-status-details-bin"].decode("utf-8", "replace")})


if __name__ == "__main__":
    main()
