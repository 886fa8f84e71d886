package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// How an export is retried, as in OpenTelemetry's own exporters.
const (
	firstPause   = 5 * time.Second // plus or minus half; each further one is 1.5 times as long
	longestPause = 30 * time.Second
	retryFor     = time.Minute
)

// maxResponse bounds how much of a collector's answer is read, and maxMessage how much
// of it is logged.
const (
	maxResponse = 64 << 10
	maxMessage  = 300
)

const protobuf = "application/x-protobuf"

// An exporter posts spans by OTLP over HTTP. It implements sdk.SpanExporter: the
// batcher calls it from one goroutine at a time.
type exporter struct {
	to        destination
	client    http.Client
	userAgent string
}

func newExporter(version string) (*exporter, error) {
	to, err := readDestination()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = to.tls
	return &exporter{to: to, client: http.Client{Transport: transport, Timeout: to.timeout}, userAgent: "usher/" + version}, nil
}

// Shutdown implements sdk.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// ExportSpans implements sdk.SpanExporter. It retries temporary failures until ctx
// ends or a minute has passed.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := encode(spans)
	if err != nil {
		return err
	}
	if e.to.gzip {
		if body, err = compress(body); err != nil {
			return err
		}
	}
	began := time.Now()
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		err := e.post(ctx, body)
		var passing *passingError
		if !errors.As(err, &passing) {
			return err
		}
		wait := max(passing.retryAfter, pause/2+rand.N(pause))
		if time.Since(began)+wait > retryFor {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// A passingError is a temporary failure.
type passingError struct {
	error
	retryAfter time.Duration // 0: the collector did not say
}

func (e *passingError) Unwrap() error { return e.error }

// post makes one attempt. A passingError may be retried; other errors are final.
func (e *exporter) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.to.url.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = e.to.header.Clone()
	req.Header.Set("User-Agent", e.userAgent)
	req.Header.Set("Content-Type", protobuf)
	if e.to.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return transportError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	binary := resp.Header.Get("Content-Type") == protobuf
	switch code := resp.StatusCode; {
	case code/100 == 2 && err == nil && binary:
		return partialSuccess(text)
	case code/100 == 2:
		return nil // the spans were accepted
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return &passingError{failure(resp.Status, text, binary), retryAfter(resp.Header.Get("Retry-After"))}
	}
	return failure(resp.Status, text, binary)
}

// transportError classifies the error of an attempt that got no answer. A time-out or a
// closed connection is temporary. A refused connection is not retried, so that it does
// not delay a drain.
func transportError(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	if closed || failed.Timeout() || failed.Temporary() {
		return &passingError{error: err}
	}
	return err
}

// retryAfter takes seconds or a date (RFC 9110 section 10.2.3).
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// failure returns a collector's answer as an error: the message of a google.rpc.Status
// (field 2), or the text.
func failure(status string, text []byte, binary bool) error {
	if binary {
		text = field(text, 2, protowire.BytesType).bytes
	}
	message := strings.ToValidUTF8(string(text[:min(len(text), maxMessage)]), "")
	if message = strings.TrimSpace(message); message == "" {
		return fmt.Errorf("collector answered %s", status)
	}
	return fmt.Errorf("collector answered %s: %s", status, message)
}

// partialSuccess reads an ExportTraceServiceResponse. Its field 1 says how many spans
// were rejected (field 1) and why (field 2).
func partialSuccess(text []byte) error {
	partial := field(text, 1, protowire.BytesType).bytes
	rejected := int64(field(partial, 1, protowire.VarintType).number)
	why := field(partial, 2, protowire.BytesType).bytes
	if rejected == 0 && len(why) == 0 {
		return nil
	}
	why = why[:min(len(why), maxMessage)]
	return fmt.Errorf("collector rejected %d spans: %s", rejected, strings.ToValidUTF8(string(why), ""))
}

type wireValue struct {
	number uint64
	bytes  []byte
}

// field returns the value of a field of a message; zero if there is no such field, or
// if it is not a message.
func field(message []byte, number protowire.Number, kind protowire.Type) (v wireValue) {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return v
		}
		value := message[n:]
		size := protowire.ConsumeFieldValue(num, typ, value)
		if size < 0 {
			return v
		}
		if num == number && typ == kind {
			switch kind {
			case protowire.VarintType:
				v.number, _ = protowire.ConsumeVarint(value)
			case protowire.BytesType:
				v.bytes, _ = protowire.ConsumeBytes(value)
			}
		}
		message = value[size:]
	}
	return v
}
