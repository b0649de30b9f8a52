"""The bearer token of OpenTelemetry's OTLP exporters, read again when it may have changed: from
OTLP_TOKEN_FILE=/path, looked at before each request, or OTLP_TOKEN_KEYRING=service/user, asked every
OTLP_TOKEN_SECONDS (60), and whenever HTTP is refused."""

import os
import threading
import time

_lock = threading.Lock()
_token = _read_at = None


def token(refused=None):
    """The token of now. A place that is away for a moment leaves the last one."""
    global _token, _read_at
    with _lock:
        try:
            at = _version()
            if at != _read_at or _token == refused:
                _token, _read_at = _read(), at
        except Exception:
            if _token is None:
                raise
        return _token


def _version():
    if path := os.environ.get("OTLP_TOKEN_FILE"):
        status = os.stat(path)
        return status.st_mtime_ns, status.st_ino, status.st_size
    return time.monotonic() // float(os.environ.get("OTLP_TOKEN_SECONDS", "60"))


def _read():
    if path := os.environ.get("OTLP_TOKEN_FILE"):
        with open(path, encoding="ascii") as file:
            found = file.read().strip()
    else:
        import keyring

        found = keyring.get_password(*os.environ["OTLP_TOKEN_KEYRING"].rsplit("/", 1))
    if not found:
        raise LookupError("no token in OTLP_TOKEN_FILE or OTLP_TOKEN_KEYRING")
    return found


def http_session():
    """For OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER, or OTLPSpanExporter(session=…)."""
    import requests

    def again(response, **options):
        sent = response.request.headers["Authorization"].removeprefix("Bearer ")
        if response.status_code != 401 or token(refused=sent) == sent:
            return response
        response.close()
        request = response.request.copy()
        request.headers["Authorization"] = f"Bearer {token()}"
        return response.connection.send(request, **options)

    def authorize(request):
        request.headers["Authorization"] = f"Bearer {token()}"
        request.register_hook("response", again)
        return request

    session = requests.Session()
    session.auth = authorize
    return session


def grpc_credentials():
    """For OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER, or OTLPSpanExporter(credentials=…)."""
    import grpc

    class Plugin(grpc.AuthMetadataPlugin):
        def __call__(self, context, callback):
            callback((("authorization", f"Bearer {token()}"),), None)

    with open(os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE") or os.devnull, "rb") as file:
        ssl = grpc.ssl_channel_credentials(root_certificates=file.read() or None)
    return grpc.composite_channel_credentials(ssl, grpc.metadata_call_credentials(Plugin()))
