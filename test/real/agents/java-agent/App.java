import io.opentelemetry.api.GlobalOpenTelemetry;

/** A program that knows the API alone; the Java agent has the SDK. Argument: spans to make, one every 50 ms. */
public final class App {
  public static void main(String[] args) throws InterruptedException {
    var tracer = GlobalOpenTelemetry.getTracer("app");
    for (int left = Integer.parseInt(args[0]); left > 0; left -= 1) {
      tracer.spanBuilder("item").startSpan().end();
      Thread.sleep(50);
    }
  }
}
