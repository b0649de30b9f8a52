// Makes gRPC calls with grpc-go as told: one JSON command a line on standard input, one JSON answer
// a line on standard output. The commands are described in ../driver.ts.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type command struct {
	Op          string      `json:"op"`
	ID          int         `json:"id"`
	Name        string      `json:"name"`
	Target      string      `json:"target"`
	CA          string      `json:"ca"`
	KeepaliveMs int         `json:"keepaliveMs"`
	Path        string      `json:"path"`
	File        string      `json:"file"`
	Gzip        bool        `json:"gzip"`
	TimeoutMs   int         `json:"timeoutMs"`
	Waits       bool        `json:"waits"`
	Metadata    [][2]string `json:"metadata"`
	Count       int         `json:"count"`
	Parallel    int         `json:"parallel"`
	Call        int         `json:"call"`
}

// Bytes in, bytes out.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}
func (raw) Name() string { return "" }

var (
	channels sync.Map
	cancels  sync.Map
	output   sync.Mutex
)

func say(answer any) {
	line, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func connect(c command) error {
	secure := insecure.NewCredentials()
	if c.CA != "" {
		var err error
		if secure, err = credentials.NewClientTLSFromFile(c.CA, ""); err != nil {
			return err
		}
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(1<<26)),
	}
	if c.KeepaliveMs > 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                time.Duration(c.KeepaliveMs) * time.Millisecond,
			Timeout:             5 * time.Second,
			PermitWithoutStream: true,
		}))
	}
	channel, err := grpc.NewClient(c.Target, options...)
	if err == nil {
		channel.Connect()
		channels.Store(c.Name, channel)
	}
	return err
}

type result struct {
	ID       int         `json:"id"`
	Code     int         `json:"code"`
	Message  string      `json:"message"`
	Body     *string     `json:"body"`
	Headers  [][2]string `json:"headers"`
	Trailers [][2]string `json:"trailers"`
}

func isBinary(name string) bool { return strings.HasSuffix(name, "-bin") }

func listOf(fields metadata.MD) [][2]string {
	list := [][2]string{}
	for name, values := range fields {
		for _, value := range values {
			if isBinary(name) {
				value = base64.StdEncoding.EncodeToString([]byte(value))
			}
			list = append(list, [2]string{name, value})
		}
	}
	sort.SliceStable(list, func(a, b int) bool { return list[a][0] < list[b][0] })
	return list
}

func call(ctx context.Context, c command, message []byte) result {
	fields := metadata.MD{}
	for _, field := range c.Metadata {
		value := field[1]
		if isBinary(field[0]) {
			bytes, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				panic(err)
			}
			value = string(bytes)
		}
		fields.Append(field[0], value)
	}
	ctx = metadata.NewOutgoingContext(ctx, fields)
	if c.TimeoutMs > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(c.TimeoutMs)*time.Millisecond)
		defer cancel()
		ctx = limited
	}
	var headers, trailers metadata.MD
	options := []grpc.CallOption{grpc.Header(&headers), grpc.Trailer(&trailers), grpc.WaitForReady(c.Waits)}
	if c.Gzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	var answer []byte
	channel, _ := channels.Load(c.Name)
	err := channel.(*grpc.ClientConn).Invoke(ctx, c.Path, &message, &answer, options...)
	said := status.Convert(err)
	done := result{ID: c.ID, Code: int(said.Code()), Message: said.Message(), Headers: listOf(headers), Trailers: listOf(trailers)}
	if err == nil {
		body := base64.StdEncoding.EncodeToString(answer)
		done.Body = &body
	}
	return done
}

func many(c command, message []byte) {
	var next atomic.Int64
	var lock sync.Mutex
	var workers sync.WaitGroup
	codes := map[string]int{}
	firstError := ""
	for range c.Parallel {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				number := next.Add(1) - 1
				if number >= int64(c.Count) {
					return
				}
				numbered := append(binary.BigEndian.AppendUint32(nil, uint32(number)), message...)
				done := call(context.Background(), c, numbered)
				lock.Lock()
				codes[strconv.Itoa(done.Code)]++
				if done.Code != 0 && firstError == "" {
					firstError = done.Message
				}
				lock.Unlock()
			}
		}()
	}
	workers.Wait()
	say(map[string]any{"id": c.ID, "codes": codes, "firstError": firstError})
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		if c.Op == "connect" {
			if err := connect(c); err != nil {
				panic(err)
			}
			say(map[string]any{"id": c.ID})
			continue
		}
		if c.Op == "cancel" {
			if cancel, ok := cancels.Load(c.Call); ok {
				cancel.(context.CancelFunc)()
			}
			continue
		}
		message, err := os.ReadFile(c.File)
		if err != nil {
			panic(err)
		}
		if c.Op == "many" {
			go many(c, message)
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancels.Store(c.ID, cancel)
		go func() { say(call(ctx, c, message)) }()
	}
}
