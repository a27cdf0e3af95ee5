"""Stands in the path between node processes and cuts them apart: any pair, also one way.

Every node's advertised address is a port of the forwarder. Who calls is in the clear in the first message of a
connection (the hello of storage-node/src/wire/handshake.rs); a cut holds bytes back in one direction, as lost packets
would, and lets them go when it is healed.
"""

import socket
import struct
import threading

HELLO_BYTES = 2 + 1 + 8 + 2 + 1 + 1 + 8
PIECE_BYTES = 256 << 10
PROXY = 0


class Forwarder:
    def __init__(self):
        self.cuts = set()
        self.changed = threading.Condition()
        self.listeners = []

    def listen(self, node, target):
        """Takes connections for `node`, which really listens at `target`; returns the port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listeners.append(listener)
        threading.Thread(target=self.accept, args=(listener, node, target), daemon=True).start()
        return listener.getsockname()[1]

    def cut(self, *pairs):
        """Holds back everything from the first to the second of each pair."""
        with self.changed:
            self.cuts.update(pairs)
            self.changed.notify_all()

    def heal(self):
        with self.changed:
            self.cuts.clear()
            self.changed.notify_all()

    def close(self):
        self.heal()
        for listener in self.listeners:
            listener.close()

    def accept(self, listener, node, target):
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(caller, node, target), daemon=True).start()

    def serve(self, caller, node, target):
        try:
            hello = b""
            while len(hello) < HELLO_BYTES:
                piece = caller.recv(HELLO_BYTES - len(hello))
                if not piece:
                    return caller.close()
                hello += piece
            role, number = struct.unpack("<BQ", hello[14:23])
            source = number if role == 1 else PROXY
            self.wait_open(source, node)
            callee = socket.create_connection(target)
            for end in (caller, callee):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            callee.sendall(hello)
        except OSError:
            return caller.close()
        for giving, taking, way in ((caller, callee, (source, node)), (callee, caller, (node, source))):
            threading.Thread(target=self.pump, args=(giving, taking, way), daemon=True).start()

    def wait_open(self, *way):
        with self.changed:
            self.changed.wait_for(lambda: tuple(way) not in self.cuts)

    def pump(self, giving, taking, way):
        try:
            while piece := giving.recv(PIECE_BYTES):
                self.wait_open(*way)
                taking.sendall(piece)
        except OSError:
            pass
        for end in (giving, taking):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if end is giving:
                end.close()
