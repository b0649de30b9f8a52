package otlptoken;

import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.metrics.OtlpGrpcMetricExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.autoconfigure.spi.AutoConfigurationCustomizer;
import io.opentelemetry.sdk.autoconfigure.spi.AutoConfigurationCustomizerProvider;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * The bearer token of the OTLP exporters, from the file that OTLP_TOKEN_FILE (or the property
 * otlp.token.file) names. It is looked at before each request, so a token that is replaced there is
 * in use with the next one.
 */
public final class TokenFile
    implements AutoConfigurationCustomizerProvider, Supplier<Map<String, String>> {
  private static final String NAME =
      System.getProperty("otlp.token.file", System.getenv("OTLP_TOKEN_FILE"));

  private final Path path = NAME == null ? null : Path.of(NAME);
  private Object seen;
  private String token;

  @Override
  public void customize(AutoConfigurationCustomizer sdk) {
    if (path == null) return;
    sdk.addSpanExporterCustomizer(
        (exporter, config) -> {
          if (exporter instanceof OtlpHttpSpanExporter http)
            return again(SpanExporter.class, http.toBuilder().setHeaders(this).build());
          if (exporter instanceof OtlpGrpcSpanExporter grpc)
            return again(SpanExporter.class, grpc.toBuilder().setHeaders(this).build());
          return exporter;
        });
    sdk.addMetricExporterCustomizer(
        (exporter, config) -> {
          if (exporter instanceof OtlpHttpMetricExporter http)
            return again(MetricExporter.class, http.toBuilder().setHeaders(this).build());
          if (exporter instanceof OtlpGrpcMetricExporter grpc)
            return again(MetricExporter.class, grpc.toBuilder().setHeaders(this).build());
          return exporter;
        });
    sdk.addLogRecordExporterCustomizer(
        (exporter, config) -> {
          if (exporter instanceof OtlpHttpLogRecordExporter http)
            return again(LogRecordExporter.class, http.toBuilder().setHeaders(this).build());
          if (exporter instanceof OtlpGrpcLogRecordExporter grpc)
            return again(LogRecordExporter.class, grpc.toBuilder().setHeaders(this).build());
          return exporter;
        });
  }

  /** What `setHeaders` takes. */
  @Override
  public Map<String, String> get() {
    return Map.of("Authorization", "Bearer " + token());
  }

  /** The token of now. A file that is missing or empty for a moment leaves the last one. */
  private synchronized String token() {
    try {
      var file = Files.readAttributes(path, BasicFileAttributes.class);
      var now = List.of(file.lastModifiedTime(), String.valueOf(file.fileKey()), file.size());
      if (now.equals(seen)) return token;
      String text = Files.readString(path).strip();
      if (text.isEmpty()) throw new IOException(path + " is empty; expected a token");
      token = text;
      seen = now;
    } catch (IOException error) {
      if (token == null) throw new UncheckedIOException(error);
    }
    return token;
  }

  /** An exporter that sends a batch once more if it failed while the token was being replaced. */
  private <E> E again(Class<E> kind, E exporter) {
    var proxy =
        Proxy.newProxyInstance(
            kind.getClassLoader(),
            new Class<?>[] {kind},
            (self, method, arguments) -> {
              if (!method.getName().equals("export")) return method.invoke(exporter, arguments);
              String sent = token();
              var first = (CompletableResultCode) method.invoke(exporter, arguments);
              var result = new CompletableResultCode();
              first.whenComplete(
                  () -> {
                    if (first.isSuccess() || token().equals(sent)) settle(result, first);
                    else {
                      try {
                        var second = (CompletableResultCode) method.invoke(exporter, arguments);
                        second.whenComplete(() -> settle(result, second));
                      } catch (ReflectiveOperationException error) {
                        result.failExceptionally(error);
                      }
                    }
                  });
              return result;
            });
    return kind.cast(proxy);
  }

  private static void settle(CompletableResultCode result, CompletableResultCode with) {
    if (with.isSuccess()) result.succeed();
    else if (with.getFailureThrowable() == null) result.fail();
    else result.failExceptionally(with.getFailureThrowable());
  }
}
