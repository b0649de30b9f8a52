import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Makes gRPC calls with grpc-java as told: one JSON command a line on standard input, one JSON
 * answer a line on standard output. The commands are described in ../../../../driver.ts.
 */
public final class Client {
  private static final Map<String, ManagedChannel> CHANNELS = new ConcurrentHashMap<>();
  private static final Map<Integer, ClientCall<byte[], byte[]>> CALLS = new ConcurrentHashMap<>();

  /** Bytes in, bytes out. */
  private static final MethodDescriptor.Marshaller<byte[]> RAW =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] value) {
          return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        }
      };

  /** How a call ended. */
  private record Done(Status status, byte[] body, Metadata headers, Metadata trailers) {}

  private static synchronized void say(JsonObject answer) {
    System.out.println(answer);
    System.out.flush();
  }

  private static void connect(JsonObject command) throws IOException {
    String ca = command.get("ca").getAsString();
    ChannelCredentials credentials =
        ca.isEmpty()
            ? InsecureChannelCredentials.create()
            : TlsChannelCredentials.newBuilder().trustManager(new File(ca)).build();
    var builder =
        Grpc.newChannelBuilder(command.get("target").getAsString(), credentials)
            .maxInboundMessageSize(1 << 26);
    int keepaliveMs = command.get("keepaliveMs").getAsInt();
    if (keepaliveMs > 0) {
      builder
          .keepAliveTime(keepaliveMs, TimeUnit.MILLISECONDS)
          .keepAliveTimeout(5, TimeUnit.SECONDS)
          .keepAliveWithoutCalls(true);
    }
    CHANNELS.put(command.get("name").getAsString(), builder.build());
  }

  private static boolean isBinary(String name) {
    return name.endsWith(Metadata.BINARY_HEADER_SUFFIX);
  }

  private static Metadata.Key<byte[]> binaryKey(String name) {
    return Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER);
  }

  private static Metadata.Key<String> textKey(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private static Metadata sent(JsonArray fields) {
    Metadata metadata = new Metadata();
    for (JsonElement field : fields) {
      String name = field.getAsJsonArray().get(0).getAsString();
      String value = field.getAsJsonArray().get(1).getAsString();
      if (isBinary(name)) {
        metadata.put(binaryKey(name), Base64.getDecoder().decode(value));
      } else {
        metadata.put(textKey(name), value);
      }
    }
    return metadata;
  }

  private static JsonArray received(Metadata metadata) {
    JsonArray fields = new JsonArray();
    for (String name : new TreeSet<>(metadata.keys())) {
      if (name.startsWith(":")) {
        // Of an answer that is not gRPC's, the library keeps the HTTP status here.
        continue;
      }
      if (isBinary(name)) {
        for (byte[] value : metadata.getAll(binaryKey(name))) {
          fields.add(pair(name, Base64.getEncoder().encodeToString(value)));
        }
      } else {
        for (String value : metadata.getAll(textKey(name))) {
          fields.add(pair(name, value));
        }
      }
    }
    return fields;
  }

  private static JsonArray pair(String name, String value) {
    JsonArray pair = new JsonArray();
    pair.add(name);
    pair.add(value);
    return pair;
  }

  private static CompletableFuture<Done> call(JsonObject command, byte[] message) {
    CallOptions options = CallOptions.DEFAULT;
    int timeoutMs = command.get("timeoutMs").getAsInt();
    if (timeoutMs > 0) {
      options = options.withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS);
    }
    if (command.get("gzip").getAsBoolean()) {
      options = options.withCompression("gzip");
    }
    if (command.get("waits").getAsBoolean()) {
      options = options.withWaitForReady();
    }
    MethodDescriptor<byte[], byte[]> method =
        MethodDescriptor.newBuilder(RAW, RAW)
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName(command.get("path").getAsString().substring(1))
            .build();
    ClientCall<byte[], byte[]> call =
        CHANNELS.get(command.get("name").getAsString()).newCall(method, options);
    CALLS.put(command.get("id").getAsInt(), call);
    CompletableFuture<Done> done = new CompletableFuture<>();
    call.start(
        new ClientCall.Listener<>() {
          private Metadata headers = new Metadata();
          private byte[] body;

          @Override
          public void onHeaders(Metadata received) {
            headers = received;
          }

          @Override
          public void onMessage(byte[] received) {
            body = received;
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            done.complete(new Done(status, body, headers, trailers));
          }
        },
        sent(command.getAsJsonArray("metadata")));
    call.request(2);
    call.sendMessage(message);
    call.halfClose();
    return done;
  }

  private static String messageOf(Status status) {
    return status.getDescription() == null ? "" : status.getDescription();
  }

  private static void one(JsonObject command, byte[] message) {
    call(command, message)
        .thenAccept(
            done -> {
              JsonObject answer = new JsonObject();
              answer.add("id", command.get("id"));
              answer.addProperty("code", done.status().getCode().value());
              answer.addProperty("message", messageOf(done.status()));
              if (done.status().isOk() && done.body() != null) {
                answer.addProperty("body", Base64.getEncoder().encodeToString(done.body()));
              } else {
                answer.add("body", JsonNull.INSTANCE);
              }
              answer.add("headers", received(done.headers()));
              answer.add("trailers", received(done.trailers()));
              say(answer);
            })
        .exceptionally(
            failure -> {
              failure.printStackTrace();
              System.exit(1);
              return null;
            });
  }

  private static void many(JsonObject command, byte[] message) {
    int count = command.get("count").getAsInt();
    AtomicInteger next = new AtomicInteger();
    Map<Integer, Integer> codes = new TreeMap<>();
    AtomicReference<String> firstError = new AtomicReference<>("");
    Thread[] workers = new Thread[command.get("parallel").getAsInt()];
    for (int at = 0; at < workers.length; at++) {
      workers[at] =
          new Thread(
              () -> {
                for (int number; (number = next.getAndIncrement()) < count; ) {
                  ByteBuffer numbered = ByteBuffer.allocate(4 + message.length);
                  numbered.putInt(number).put(message);
                  Status status = call(command, numbered.array()).join().status();
                  synchronized (codes) {
                    codes.merge(status.getCode().value(), 1, Integer::sum);
                  }
                  if (!status.isOk()) {
                    firstError.compareAndSet("", messageOf(status));
                  }
                }
              });
      workers[at].start();
    }
    for (Thread worker : workers) {
      try {
        worker.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    JsonObject answer = new JsonObject();
    answer.add("id", command.get("id"));
    answer.add("codes", new Gson().toJsonTree(codes));
    answer.addProperty("firstError", firstError.get());
    say(answer);
  }

  /** Takes commands until there are no more. */
  public static void main(String[] args) throws IOException {
    Gson gson = new Gson();
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = lines.readLine()) != null; ) {
      JsonObject command = gson.fromJson(line, JsonObject.class);
      switch (command.get("op").getAsString()) {
        case "connect" -> {
          connect(command);
          JsonObject answer = new JsonObject();
          answer.add("id", command.get("id"));
          say(answer);
        }
        case "cancel" -> CALLS.get(command.get("call").getAsInt()).cancel("by the test", null);
        default -> {
          byte[] message = Files.readAllBytes(Path.of(command.get("file").getAsString()));
          if (command.get("op").getAsString().equals("many")) {
            new Thread(() -> many(command, message)).start();
          } else {
            one(command, message);
          }
        }
      }
    }
    System.exit(0);
  }
}
