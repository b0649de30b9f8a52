// Package otlptoken sends the bearer token that is in a file with each OTLP export. The file is looked
// at before each request, so a token that is replaced there is in use with the next one.
package otlptoken

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// File is a file with one token in it, and nothing else.
type File struct {
	path  string
	mutex sync.Mutex
	seen  os.FileInfo
	token string
}

// Open reads the token for the first time.
func Open(path string) (*File, error) {
	file := &File{path: path}
	_, err := file.Token()
	return file, err
}

// Token is the token of now. A file that is missing or empty for a moment leaves the last one.
func (f *File) Token() (string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	info, err := os.Stat(f.path)
	if err == nil && f.seen != nil && os.SameFile(info, f.seen) &&
		info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return f.token, nil
	}
	text, err := os.ReadFile(f.path)
	token := strings.TrimSpace(string(text))
	if err == nil && token == "" {
		err = fmt.Errorf("%s is empty; expected a token", f.path)
	}
	if err == nil {
		f.seen, f.token = info, token
	} else if f.token != "" {
		err = nil
	}
	return f.token, err
}

// Transport is for otlptracehttp.WithHTTPClient(&http.Client{Transport: …}) and its siblings. A request
// that is refused while the token is being replaced is sent once more.
func (f *File) Transport(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		sent, err := f.Token()
		if err != nil {
			return nil, err
		}
		response, err := base.RoundTrip(withToken(request, sent))
		if err != nil || response.StatusCode != http.StatusUnauthorized || request.GetBody == nil {
			return response, err
		}
		newer, _ := f.Token()
		body, err := request.GetBody()
		if err != nil || newer == sent {
			return response, nil
		}
		response.Body.Close()
		again := withToken(request, newer)
		again.Body = body
		return base.RoundTrip(again)
	})
}

// DialOptions is for otlptracegrpc.WithDialOption(….DialOptions()...) and its siblings.
func (f *File) DialOptions() []grpc.DialOption {
	again := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		sent, _ := f.Token()
		err := invoke(ctx, method, request, reply, conn, options...)
		if newer, _ := f.Token(); status.Code(err) != codes.Unauthenticated || newer == sent {
			return err
		}
		return invoke(ctx, method, request, reply, conn, options...)
	}
	return []grpc.DialOption{grpc.WithPerRPCCredentials(f), grpc.WithChainUnaryInterceptor(again)}
}

// GetRequestMetadata makes a File credentials.PerRPCCredentials.
func (f *File) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := f.Token()
	return map[string]string{"authorization": "Bearer " + token}, err
}

// RequireTransportSecurity keeps the token off connections without TLS.
func (f *File) RequireTransportSecurity() bool { return true }

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func withToken(request *http.Request, token string) *http.Request {
	clone := request.Clone(request.Context())
	clone.Header.Set("Authorization", "Bearer "+token)
	return clone
}
