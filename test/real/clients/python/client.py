"""Makes gRPC calls with grpcio, the C core, as told: one JSON command a line on standard input, one
JSON answer a line on standard output. The commands are described in ../driver.ts."""

import base64
import json
import sys
import threading

import grpc

channels = {}
calls = {}
output = threading.Lock()


def say(answer):
    with output:
        print(json.dumps(answer), flush=True)


def connect(command):
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # A connection of its own for each channel.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if command["keepaliveMs"] > 0:
        options += [
            ("grpc.keepalive_time_ms", command["keepaliveMs"]),
            ("grpc.keepalive_timeout_ms", 5000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    target = command["target"]
    if command["ca"]:
        with open(command["ca"], "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(target, credentials, options)
    else:
        channel = grpc.insecure_channel(target, options)
    channels[command["name"]] = channel
    say({"id": command["id"]})


def sent(fields):
    return [
        (name, base64.b64decode(value) if name.endswith("-bin") else value)
        for name, value in fields
    ]


def received(fields):
    return sorted(
        [name, base64.b64encode(value).decode() if isinstance(value, bytes) else value]
        for name, value in fields or ()
    )


def start(command, message):
    method = channels[command["name"]].unary_unary(command["path"])
    return method.future(
        message,
        timeout=command["timeoutMs"] / 1000 if command["timeoutMs"] > 0 else None,
        metadata=sent(command["metadata"]),
        wait_for_ready=command["waits"],
        compression=grpc.Compression.Gzip if command["gzip"] else None,
    )


def finish(command, future):
    code = future.code()
    say(
        {
            "id": command["id"],
            "code": code.value[0],
            "message": future.details() or "",
            "body": base64.b64encode(future.result()).decode()
            if code == grpc.StatusCode.OK
            else None,
            "headers": received(future.initial_metadata()),
            "trailers": received(future.trailing_metadata()),
        }
    )


def many(command, message):
    numbers = iter(range(command["count"]))
    lock = threading.Lock()
    codes = {}
    errors = []

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            future = start(command, number.to_bytes(4, "big") + message)
            code = str(future.code().value[0])
            with lock:
                codes[code] = codes.get(code, 0) + 1
                if code != "0":
                    errors.append(future.details())

    workers = [threading.Thread(target=work) for _ in range(command["parallel"])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    say({"id": command["id"], "codes": codes, "firstError": (errors or [""])[0]})


def begin(command):
    with open(command["file"], "rb") as file:
        message = file.read()
    if command["op"] == "many":
        threading.Thread(target=many, args=(command, message)).start()
        return
    future = start(command, message)
    calls[command["id"]] = future
    future.add_done_callback(lambda done: finish(command, done))


for line in sys.stdin:
    told = json.loads(line)
    if told["op"] == "connect":
        connect(told)
    elif told["op"] == "cancel":
        calls[told["call"]].cancel()
    else:
        begin(told)
for open_channel in channels.values():
    open_channel.close()
