// Sends numbered spans, metric points and log records with the OpenTelemetry SDK and the exporters
// as they are set up by the standard OTEL_* variables, and with the token in OTLP_TOKEN_FILE where that
// is given. Arguments: --run ID --items N --duration SECONDS [--until FILE: stops early, once there is
// such a file]. Prints {"event":"started"} and, at the end, {"event":"done","sent":N,"logged":[…]}.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"tollgate.test/otlptoken"
)

type exporters struct {
	traces  sdktrace.SpanExporter
	metrics sdkmetric.Exporter
	logs    sdklog.Exporter
}

func newExporters(ctx context.Context) (made exporters, err error) {
	tracesGrpc, tracesHttp := []otlptracegrpc.Option{}, []otlptracehttp.Option{}
	metricsGrpc, metricsHttp := []otlpmetricgrpc.Option{}, []otlpmetrichttp.Option{}
	logsGrpc, logsHttp := []otlploggrpc.Option{}, []otlploghttp.Option{}
	if path := os.Getenv("OTLP_TOKEN_FILE"); path != "" {
		var token *otlptoken.File
		if token, err = otlptoken.Open(path); err != nil {
			return
		}
		dial := token.DialOptions()
		tracesGrpc = append(tracesGrpc, otlptracegrpc.WithDialOption(dial...))
		metricsGrpc = append(metricsGrpc, otlpmetricgrpc.WithDialOption(dial...))
		logsGrpc = append(logsGrpc, otlploggrpc.WithDialOption(dial...))
		var client *http.Client
		if client, err = httpClient(token); err != nil {
			return
		}
		tracesHttp = append(tracesHttp, otlptracehttp.WithHTTPClient(client))
		metricsHttp = append(metricsHttp, otlpmetrichttp.WithHTTPClient(client))
		logsHttp = append(logsHttp, otlploghttp.WithHTTPClient(client))
	}
	switch protocol := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "grpc":
		var traces *otlptrace.Exporter
		if traces, err = otlptracegrpc.New(ctx, tracesGrpc...); err != nil {
			return
		}
		made.traces = traces
		if made.metrics, err = otlpmetricgrpc.New(ctx, metricsGrpc...); err != nil {
			return
		}
		made.logs, err = otlploggrpc.New(ctx, logsGrpc...)
	case "http/protobuf":
		var traces *otlptrace.Exporter
		if traces, err = otlptracehttp.New(ctx, tracesHttp...); err != nil {
			return
		}
		made.traces = traces
		if made.metrics, err = otlpmetrichttp.New(ctx, metricsHttp...); err != nil {
			return
		}
		made.logs, err = otlploghttp.New(ctx, logsHttp...)
	default:
		err = fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q; expected grpc or http/protobuf", protocol)
	}
	return
}

// An exporter that is given a client reads neither its time limit nor its CA from the environment.
func httpClient(token *otlptoken.File) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if path := os.Getenv("OTEL_EXPORTER_OTLP_CERTIFICATE"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", path)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: token.Transport(transport), Timeout: 10 * time.Second}, nil
}

func main() {
	run := flag.String("run", "", "id of this run")
	items := flag.Int("items", 100, "items of each signal")
	seconds := flag.Float64("duration", 1, "seconds over which they are spread")
	until := flag.String("until", "", "file that ends it early")
	flag.Parse()
	ctx := context.Background()

	var mutex sync.Mutex
	logged := []string{}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		mutex.Lock()
		defer mutex.Unlock()
		logged = append(logged, err.Error())
	}))

	made, err := newExporters(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(made.traces))
	metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(made.metrics)))
	logs := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(made.logs)))
	tracer := traces.Tracer("sender")
	counter, err := metrics.Meter("sender").Int64Counter("tollgate.test.items")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	logger := logs.Logger("sender")

	fmt.Println(`{"event":"started"}`)
	start := time.Now()
	sent := 0
	for seq := range *items {
		time.Sleep(time.Until(start.Add(time.Duration(*seconds * 1e9 * float64(seq) / float64(*items)))))
		if _, err := os.Stat(*until); *until != "" && err == nil {
			break
		}
		attributes := []attribute.KeyValue{attribute.String("run", *run), attribute.Int("seq", seq)}
		_, span := tracer.Start(ctx, "item", trace.WithAttributes(attributes...))
		span.End()
		counter.Add(ctx, 1, metric.WithAttributes(attributes...))
		var record log.Record
		record.SetTimestamp(time.Now())
		record.SetBody(attribute.StringValue("item"))
		record.AddAttributes(attributes...)
		logger.Emit(ctx, record)
		sent++
	}

	for _, end := range []func(context.Context) error{
		traces.ForceFlush, metrics.ForceFlush, logs.ForceFlush,
		traces.Shutdown, metrics.Shutdown, logs.Shutdown,
	} {
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := end(limited); err != nil {
			otel.Handle(err)
		}
		cancel()
	}
	mutex.Lock()
	defer mutex.Unlock()
	done, err := json.Marshal(map[string]any{"event": "done", "sent": sent, "logged": logged})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(done))
}
