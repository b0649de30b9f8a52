"""Encodes and decodes header blocks with the library hpack, and talks HTTP/2 with the library h2.

    http2_peer.py encode   {"size": N?, "huffman": bool, "fields": [[name, value], …]} a line -> hex a line
    http2_peer.py decode   hex a line -> [[name, value], …] a line
    http2_peer.py client PORT TABLE_BYTES BODY_BYTES…   one request for each size; prints what came back
"""

import json
import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple


def encode() -> None:
    encoder = Encoder()
    for line in sys.stdin:
        block = json.loads(line)
        if block["size"] is not None:
            encoder.header_table_size = block["size"]
        fields = [
            NeverIndexedHeaderTuple(name, value) if name == "authorization" else (name, value)
            for name, value in block["fields"]
        ]
        print(encoder.encode(fields, huffman=block["huffman"]).hex(), flush=True)


def decode() -> None:
    decoder = Decoder(max_header_list_size=1 << 20)
    for line in sys.stdin:
        fields = decoder.decode(bytes.fromhex(line.strip()), raw=True)
        text = [[name.decode("latin1"), value.decode("latin1")] for name, value in fields]
        print(json.dumps(text), flush=True)


def client(port: int, table_bytes: int, sizes: list[int]) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: table_bytes})
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(connection.data_to_send())
    unsent, answers = {}, {}
    for at, size in enumerate(sizes):
        stream = connection.get_next_available_stream_id()
        connection.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/echo"),
                (":authority", "localhost"),
                ("x-echo", str(at)),
            ],
        )
        unsent[stream] = bytes(i & 0xFF for i in range(size))
        answers[stream] = {"size": size, "body": b"", "echo": "", "end": "", "code": None}
    open_streams = set(answers)
    while open_streams:
        for stream in list(unsent):
            while True:
                room = min(
                    connection.local_flow_control_window(stream), connection.max_outbound_frame_size
                )
                piece = unsent[stream][:room]
                rest = unsent[stream][room:]
                if not piece and rest:
                    break
                connection.send_data(stream, piece, end_stream=not rest)
                unsent[stream] = rest
                if not rest:
                    del unsent[stream]
                    break
        sock.sendall(connection.data_to_send())
        data = sock.recv(65536)
        if not data:
            break
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                answers[event.stream_id]["echo"] = dict(event.headers)[b"x-echo"].decode()
            elif isinstance(event, h2.events.DataReceived):
                answers[event.stream_id]["body"] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                answers[event.stream_id]["end"] = dict(event.headers)[b"x-end"].decode()
            elif isinstance(event, h2.events.StreamEnded):
                open_streams.discard(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                answers[event.stream_id]["code"] = int(event.error_code)
                open_streams.discard(event.stream_id)
        sock.sendall(connection.data_to_send())
    for at, answer in enumerate(answers.values()):
        right = bytes(i & 0xFF for i in range(answer["size"]))
        assert answer["body"] == right, (answer["size"], len(answer["body"]))
        assert (answer["echo"], answer["end"]) == (str(at), "yes"), answer
    print("answers:", len(answers))


if sys.argv[1] == "encode":
    encode()
elif sys.argv[1] == "decode":
    decode()
else:
    client(int(sys.argv[2]), int(sys.argv[3]), [int(size) for size in sys.argv[4:]])
