import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/**
 * Sends numbered spans, metric points and log records with the OpenTelemetry SDK as it is set up by
 * the standard OTEL_* variables. Arguments: --run ID --items N --duration SECONDS [--until FILE: stops
 * early, once there is such a file]. Prints {"event":"started"} and, at the end,
 * {"event":"done", "sent":N, "logged":[…]}.
 */
public final class Sender {
  private static final List<String> logged = new ArrayList<>();

  public static void main(String[] args) throws InterruptedException {
    Map<String, String> options = new HashMap<>();
    for (int i = 0; i + 1 < args.length; i += 2) options.put(args[i], args[i + 1]);
    String run = options.get("--run");
    int items = Integer.parseInt(options.get("--items"));
    double duration = Double.parseDouble(options.get("--duration"));

    Logger root = Logger.getLogger("");
    for (Handler handler : root.getHandlers()) root.removeHandler(handler);
    root.addHandler(new Collect());

    var sdk = AutoConfiguredOpenTelemetrySdk.builder().build().getOpenTelemetrySdk();
    var tracer = sdk.getTracer("sender");
    var counter = sdk.getMeter("sender").counterBuilder("tollgate.test.items").build();
    var logger = sdk.getLogsBridge().get("sender");

    System.out.println("{\"event\":\"started\"}");
    long start = System.nanoTime();
    int sent = 0;
    for (int seq = 0; seq < items; seq += 1) {
      long due = start + (long) (duration * 1e9 * seq / items);
      long wait = due - System.nanoTime();
      if (wait > 0) TimeUnit.NANOSECONDS.sleep(wait);
      if (options.containsKey("--until") && Files.exists(Path.of(options.get("--until")))) break;
      Attributes attributes =
          Attributes.of(AttributeKey.stringKey("run"), run, AttributeKey.longKey("seq"), (long) seq);
      tracer.spanBuilder("item").setAllAttributes(attributes).startSpan().end();
      counter.add(1, attributes);
      logger.logRecordBuilder().setBody("item").setAllAttributes(attributes).emit();
      sent += 1;
    }
    sdk.getSdkTracerProvider().forceFlush().join(30, TimeUnit.SECONDS);
    sdk.getSdkMeterProvider().forceFlush().join(30, TimeUnit.SECONDS);
    sdk.getSdkLoggerProvider().forceFlush().join(30, TimeUnit.SECONDS);
    sdk.shutdown().join(30, TimeUnit.SECONDS);

    StringBuilder lines = new StringBuilder();
    synchronized (logged) {
      for (String line : logged) {
        if (lines.length() > 0) lines.append(',');
        lines.append(quote(line));
      }
    }
    System.out.println("{\"event\":\"done\",\"sent\":" + sent + ",\"logged\":[" + lines + "]}");
  }

  private static final class Collect extends Handler {
    @Override
    public void publish(LogRecord record) {
      String line = record.getLevel() + " " + record.getMessage();
      if (record.getThrown() != null) line += " " + record.getThrown();
      synchronized (logged) {
        logged.add(line);
      }
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
  }

  private static String quote(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') quoted.append('\\').append(c);
      else if (c < ' ') quoted.append(String.format("\\u%04x", (int) c));
      else quoted.append(c);
    }
    return quoted.append('"').toString();
  }
}
