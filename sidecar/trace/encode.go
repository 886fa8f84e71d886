package trace

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// encode makes the body of an export. It uses TracesData in place of
// ExportTraceServiceRequest, whose package imports gRPC; both are identical on the wire.
// All spans are of one Tracer, and so of one resource and scope. None has links.
func encode(spans []sdk.ReadOnlySpan) ([]byte, error) {
	scope := spans[0].InstrumentationScope()
	list := make([]*tracepb.Span, len(spans))
	for i, s := range spans {
		list[i] = encodeSpan(s)
	}
	return proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:  &resourcepb.Resource{Attributes: encodeAttributes(spans[0].Resource().Attributes())},
		SchemaUrl: spans[0].Resource().SchemaURL(),
		ScopeSpans: []*tracepb.ScopeSpans{{
			Scope: &commonpb.InstrumentationScope{Name: scope.Name, Version: scope.Version},
			Spans: list,
		}},
	}}})
}

var spanKinds = map[trace.SpanKind]tracepb.Span_SpanKind{
	trace.SpanKindInternal: tracepb.Span_SPAN_KIND_INTERNAL,
	trace.SpanKindServer:   tracepb.Span_SPAN_KIND_SERVER,
	trace.SpanKindClient:   tracepb.Span_SPAN_KIND_CLIENT,
}

var statusCodes = map[codes.Code]tracepb.Status_StatusCode{
	codes.Ok:    tracepb.Status_STATUS_CODE_OK,
	codes.Error: tracepb.Status_STATUS_CODE_ERROR,
}

func encodeSpan(s sdk.ReadOnlySpan) *tracepb.Span {
	context, parent := s.SpanContext(), s.Parent()
	id, own := context.TraceID(), context.SpanID()
	span := &tracepb.Span{
		TraceId:                id[:],
		SpanId:                 own[:],
		TraceState:             context.TraceState().String(),
		Flags:                  uint32(context.TraceFlags()) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK),
		Name:                   s.Name(),
		Kind:                   spanKinds[s.SpanKind()],
		StartTimeUnixNano:      uint64(max(s.StartTime().UnixNano(), 0)),
		EndTimeUnixNano:        uint64(max(s.EndTime().UnixNano(), 0)),
		Attributes:             encodeAttributes(s.Attributes()),
		DroppedAttributesCount: uint32(s.DroppedAttributes()),
		DroppedEventsCount:     uint32(s.DroppedEvents()),
		Status:                 &tracepb.Status{Code: statusCodes[s.Status().Code], Message: s.Status().Description},
	}
	if above := parent.SpanID(); above.IsValid() {
		span.ParentSpanId = above[:]
	}
	if parent.IsRemote() {
		span.Flags |= uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	for _, e := range s.Events() {
		span.Events = append(span.Events, &tracepb.Span_Event{
			Name:                   e.Name,
			TimeUnixNano:           uint64(max(e.Time.UnixNano(), 0)),
			Attributes:             encodeAttributes(e.Attributes),
			DroppedAttributesCount: uint32(e.DroppedAttributeCount),
		})
	}
	return span
}

func encodeAttributes(list []attribute.KeyValue) []*commonpb.KeyValue {
	encoded := make([]*commonpb.KeyValue, len(list))
	for i, a := range list {
		encoded[i] = &commonpb.KeyValue{Key: string(a.Key), Value: encodeValue(a.Value)}
	}
	return encoded
}

// encodeValue handles the types of attributes that Usher's spans and resources have. Any
// other is encoded as text.
func encodeValue(v attribute.Value) *commonpb.AnyValue {
	switch v.Type() {
	case attribute.BOOL:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v.AsBool()}}
	case attribute.INT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v.AsInt64()}}
	case attribute.FLOAT64:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v.AsFloat64()}}
	}
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v.String()}}
}
