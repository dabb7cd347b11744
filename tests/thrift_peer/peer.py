"""A service and a client of `control`, on Apache's own library for Python: the same interface, written by somebody else.

peer.py serve PORT ADDRESS=MANNER ...
    A service on each address. Prints "ready" when all listen, then a line of JSON for each call that was understood.
peer.py ask ADDRESS PORT FORM METHOD=COMMAND ...
    Asks a service over one connection; FORM is strict or old. Prints a line of JSON for each answer.

The structures are what the compiler of Thrift would make of contract section 3's interface.
"""

import json
import sys
import threading
import time

from thrift.protocol.TBase import TBase
from thrift.protocol.TBinaryProtocol import TBinaryProtocol, TBinaryProtocolFactory
from thrift.server.TServer import TThreadedServer
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TFramedTransport, TFramedTransportFactory, TTransportBase

VERSION = b"20180413192258"
# What a service of a site with other habits may say: GBK, an end of line, what would clear a terminal.
ODD = b"20180413192258-\xb4\xc5\n\x1b[2J\x00"
TEXTS = (TType.STRING, "UTF8", TType.STRING, "UTF8", False)


def spec(*fields):
    """The fields of a structure, each at its own number."""
    by_number = {field[0]: field for field in fields}
    return tuple(by_number.get(number) for number in range(max(by_number) + 1))


class Struct(TBase):
    """A structure whose fields are given by name; those that are not given are not written."""

    def __init__(self, **values):
        for field in filter(None, self.thrift_spec):
            setattr(self, field[2], values.get(field[2]))


class Param(Struct):
    thrift_spec = spec(
        (1, TType.STRING, "cmd", "UTF8", None),
        (11, TType.MAP, "valueDict", TEXTS, None),
    )


class Result(Struct):
    thrift_spec = spec(
        (1, TType.I32, "status", None, None),
        (11, TType.I32, "valueType", None, None),
        (12, TType.STRING, "value", "BINARY", None),
        (13, TType.LIST, "valueMatrix", (TType.LIST, (TType.STRING, "UTF8", False), False), None),
        (14, TType.MAP, "valueDict", TEXTS, None),
    )


class LargerResult(Struct):
    """What a later service may answer: a field of every kind besides, before and behind those that are known."""

    thrift_spec = spec(
        (1, TType.I32, "status", None, None),
        (2, TType.BOOL, "flag", None, None),
        (3, TType.BYTE, "byte", None, None),
        (4, TType.I16, "short", None, None),
        (5, TType.I64, "long", None, None),
        (6, TType.DOUBLE, "double", None, None),
        (7, TType.SET, "numbers", (TType.I32, None, False), None),
        (8, TType.STRUCT, "param", (Param, Param.thrift_spec), None),
        (9, TType.MAP, "params", (TType.I64, None, TType.STRUCT, (Param, Param.thrift_spec), False), None),
        (11, TType.I32, "valueType", None, None),
        (12, TType.STRING, "value", "BINARY", None),
        (13, TType.LIST, "valueMatrix", (TType.LIST, (TType.STRING, "UTF8", False), False), None),
        (14, TType.MAP, "valueDict", TEXTS, None),
        (300, TType.STRING, "blob", "BINARY", None),
    )


class Arguments(Struct):
    thrift_spec = spec((1, TType.STRUCT, "param", (Param, Param.thrift_spec), None))


class Reply(Struct):
    thrift_spec = spec((0, TType.STRUCT, "success", (Result, Result.thrift_spec), None))


class LargerReply(Struct):
    thrift_spec = spec((0, TType.STRUCT, "success", (LargerResult, LargerResult.thrift_spec), None))


def answer(manner):
    """What a service of this manner replies."""
    matrix = {"valueType": 9, "valueMatrix": [["a", "b"], []], "valueDict": {"release": "r1", "\u9ec4": ""}}
    if manner == "larger":
        param = Param(cmd="x", valueDict={"a": "b"})
        rest = {"flag": True, "byte": -1, "short": -2, "long": 2**40, "double": 0.5, "numbers": {1, 2}}
        rest.update({"param": param, "params": {7: param}, "blob": b"\xff" * 4000})
        return LargerReply(success=LargerResult(status=0, value=VERSION, **matrix, **rest))
    if manner == "odd":
        return Reply(success=Result(status=0, value=ODD))
    if manner == "failing":
        return Reply(success=Result(status=7, value=VERSION))
    if manner == "empty":
        return Reply()
    return Reply(success=Result(status=0, value=VERSION, **matrix))


class Service(TProcessor):
    """Reads a call, tells what it understood, and replies."""

    def __init__(self, address, manner):
        self.address = address
        self.manner = manner

    def process(self, iprot, oprot):
        method, kind, number = iprot.readMessageBegin()
        arguments = Arguments()
        arguments.read(iprot)
        iprot.readMessageEnd()
        param = arguments.param
        tell(address=self.address, method=method, kind=kind, number=number, cmd=param.cmd, dict=param.valueDict)
        if self.manner == "slow":
            time.sleep(1.5)
        if self.manner == "unknown":
            what = "no such method\n\x1b[2J"
            reply = TApplicationException(TApplicationException.UNKNOWN_METHOD, what)
            oprot.writeMessageBegin(method, TMessageType.EXCEPTION, number)
        else:
            reply = answer(self.manner)
            oprot.writeMessageBegin(method, TMessageType.REPLY, number)
        reply.write(oprot)
        oprot.writeMessageEnd()
        oprot.trans.flush()


class Listening(TServerSocket):
    """A port that is open from the beginning."""

    def __init__(self, address, port):
        super().__init__(address, port)
        super().listen()

    def listen(self):
        pass


class Pieces(TTransportBase):
    """Sends every byte by itself."""

    def __init__(self, socket):
        self.socket = socket

    def write(self, data):
        for at in range(len(data)):
            self.socket.write(data[at : at + 1])
            time.sleep(0.002)

    def flush(self):
        self.socket.flush()

    def close(self):
        self.socket.close()


class FramedPieces:
    def getTransport(self, socket):
        return TFramedTransport(Pieces(socket))


def serve(port, members):
    for member in members:
        address, manner = member.split("=")
        framed = TFramedTransportFactory()
        form = TBinaryProtocolFactory(strictRead=manner != "old", strictWrite=manner != "old")
        server = TThreadedServer(
            Service(address, manner),
            Listening(address, port),
            framed,
            FramedPieces() if manner == "pieces" else framed,
            form,
            form,
        )
        threading.Thread(target=server.serve, daemon=True).start()
    print("ready", flush=True)
    # Until whoever started it lets go of its standard input.
    sys.stdin.read()


def ask(address, port, form, questions):
    transport = TFramedTransport(TSocket(address, port))
    transport.open()
    is_strict = form == "strict"
    protocol = TBinaryProtocol(transport, strictRead=is_strict, strictWrite=is_strict)
    for number, question in enumerate(questions, 7):
        method, command = question.split("=")
        protocol.writeMessageBegin(method, TMessageType.CALL, number)
        Arguments(param=Param(cmd=command, valueDict={command: command})).write(protocol)
        protocol.writeMessageEnd()
        transport.flush()
        name, kind, repeated = protocol.readMessageBegin()
        said = {"method": name, "repeats_number": repeated == number}
        if kind == TMessageType.EXCEPTION:
            exception = TApplicationException()
            exception.read(protocol)
            said.update(exception=exception.type, message=exception.message)
        else:
            reply = Reply()
            reply.read(protocol)
            result = reply.success
            said.update(status=result.status, value=result.value.decode(), dict=result.valueDict)
        protocol.readMessageEnd()
        tell(**said)
    transport.close()


def tell(**said):
    # One write, so that lines of several threads do not mix.
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3:])
    else:
        ask(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:])
