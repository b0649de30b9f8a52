"""Sends numbered spans, metric points and log records with the OpenTelemetry SDK and the exporters
as they are set up by the standard OTEL_* variables. Arguments: --run ID --items N --duration
SECONDS [--until FILE: stops early, once there is such a file]. Prints {"event":"started"} and, at the
end, {"event":"done","sent":N,"logged":[...]}."""

import argparse
import json
import logging
import os
import sys
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
elif protocol == "http/protobuf":
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
else:
    sys.exit(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; expected grpc or http/protobuf")


class Collect(logging.Handler):
    """Keeps what the SDK logs."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--duration", type=float, default=1)
    parser.add_argument("--until")
    options = parser.parse_args()

    collect = Collect()
    logging.basicConfig(level=logging.WARNING, handlers=[collect])

    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metrics = MeterProvider(metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())])
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    tracer = traces.get_tracer("sender")
    counter = metrics.get_meter("sender").create_counter("tollgate.test.items")
    logger = logs.get_logger("sender")

    print(json.dumps({"event": "started"}), flush=True)
    start = time.monotonic()
    sent = 0
    for seq in range(options.items):
        time.sleep(max(0, start + options.duration * seq / options.items - time.monotonic()))
        if options.until and os.path.exists(options.until):
            break
        attributes = {"run": options.run, "seq": seq}
        tracer.start_span("item", attributes=attributes).end()
        counter.add(1, attributes)
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                body="item",
                attributes=attributes,
            )
        )
        sent += 1

    for provider in (traces, metrics, logs):
        provider.force_flush()
    for provider in (traces, metrics, logs):
        provider.shutdown()
    print(json.dumps({"event": "done", "sent": sent, "logged": collect.lines}), flush=True)


main()
