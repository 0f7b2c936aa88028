"""A client that knows no .proto file: it asks the server for the descriptors of what it calls, as grpcurl does."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.conformance.wire import PATIENCE


class Reflection:
    """Describes and calls services over a channel, with descriptors from the server alone."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        self._pool = descriptor_pool.DescriptorPool()

    def services(self) -> set[str]:
        """The full names of the announced services."""
        answer = self._ask(list_services="")
        return {service.name for service in answer.list_services_response.service}

    def describe(self, service: str) -> Any:
        """The descriptor of a service; AssertionError with the server's words if it has none."""
        self._learn(service)
        return self._pool.FindServiceByName(service)

    def message(self, name: str) -> Any:
        """The class of a message, by its full name."""
        self._learn(name)
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))

    def call(self, service: str, method: str, **fields: Any) -> Any:
        """The answer to a unary call whose request has these fields."""
        described = self.describe(service).methods_by_name[method]
        request = message_factory.GetMessageClass(described.input_type)(**fields)
        answer = message_factory.GetMessageClass(described.output_type)
        send = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return send(request, timeout=PATIENCE)

    def _learn(self, symbol: str) -> None:
        answer = self._ask(file_containing_symbol=symbol)
        assert answer.HasField("file_descriptor_response"), f"{symbol}: {answer.error_response.error_message}"
        files = {}
        for serialized in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
            files[file.name] = file
        for name in files:
            self._add(name, files)

    def _add(self, name: str, files: dict[str, Any]) -> None:
        """Add a file after those that it imports; what a server left out it sends by its name."""
        try:
            self._pool.FindFileByName(name)
        except KeyError:
            file = files.get(name) or self._file(name)
            for dependency in file.dependency:
                self._add(dependency, files)
            self._pool.Add(file)

    def _file(self, name: str) -> Any:
        answer = self._ask(file_by_filename=name)
        assert answer.HasField("file_descriptor_response"), f"{name}: {answer.error_response.error_message}"
        [serialized] = answer.file_descriptor_response.file_descriptor_proto[:1]
        return descriptor_pb2.FileDescriptorProto.FromString(serialized)

    def _ask(self, **question: str) -> Any:
        request = reflection_pb2.ServerReflectionRequest(**question)
        [answer] = self._stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE)
        return answer
