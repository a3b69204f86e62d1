//go:build !slim

package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sendTime bounds one request to a collector.
const sendTime = 10 * time.Second

// sender posts OTLP messages to one URL. The exporters of OpenTelemetry would, too, but they link
// gRPC (docs/decisions/0037-opentelemetry.md).
type sender struct {
	url    string
	header http.Header
	client *http.Client
}

// headers reads OTEL_EXPORTER_OTLP_HEADERS: name=value pairs with commas between them.
func headers(text string) (http.Header, error) {
	header := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || name == "" || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: want name=value, several with commas between them")
		}
		header.Set(name, value)
	}
	return header, nil
}

func newSender(to string, header http.Header) *sender {
	return &sender{url: to, header: header, client: &http.Client{Timeout: sendTime}}
}

// post sends a message. The requests of OTLP are encoded as the data of their signals are.
func (s *sender) post(ctx context.Context, m proto.Message) error {
	body, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = s.header.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the collector at %s answered %d", host(s.url), res.StatusCode)
	}
	return nil
}

// spanSender is an otlptrace.Client.
type spanSender struct{ *sender }

// Start does nothing: there is no connection to be made.
func (spanSender) Start(context.Context) error { return nil }

// Stop does nothing.
func (spanSender) Stop(context.Context) error { return nil }

// UploadTraces sends spans.
func (s spanSender) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	return s.post(ctx, &tracepb.TracesData{ResourceSpans: spans})
}

// scope names the instrumentation.
var scope = &commonpb.InstrumentationScope{Name: "gaff"}

func (s *sender) metrics(ctx context.Context, res *resourcepb.Resource, all []*metricspb.Metric) error {
	return s.post(ctx, &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: res, ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: scope, Metrics: all}},
	}}})
}

func (s *sender) logs(ctx context.Context, res *resourcepb.Resource, all []*logspb.LogRecord) error {
	return s.post(ctx, &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: res, ScopeLogs: []*logspb.ScopeLogs{{Scope: scope, LogRecords: all}},
	}}})
}

func attribute(name, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.ToValidUTF8(value, "\ufffd")}}}
}
