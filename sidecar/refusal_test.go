package sidecar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

func TestRefusalShapes(t *testing.T) {
	for _, r := range refusals {
		t.Run(r.outcome.String(), func(t *testing.T) {
			got := refusalOf(fmt.Errorf("somewhere: %w", r.cause))
			require.Equal(t, r.status, got.status)
			require.Equal(t, r.outcome, got.outcome)

			var plain struct {
				Error     string `json:"error"`
				ErrorType string `json:"error_type"`
				RequestID string `json:"request_id"`
			}
			require.NoError(t, json.Unmarshal(dialect.Plain.Error(got.message, got.outcome.String(), "id-1"), &plain))
			require.Equal(t, r.outcome.String(), plain.ErrorType)
			require.Equal(t, "id-1", plain.RequestID)
			require.Equal(t, got.message, plain.Error)
			require.Regexp(t, `\.$`, plain.Error)

			var openAI struct {
				Error struct {
					Message, Type, Code string
					Param               *string
				}
				RequestID string `json:"request_id"`
			}
			require.NoError(t, json.Unmarshal(dialect.OpenAI.Error(got.message, got.outcome.String(), "id-1"), &openAI))
			require.Equal(t, r.outcome.String(), openAI.Error.Code)
			require.Equal(t, r.outcome.String(), openAI.Error.Type)
			require.Equal(t, plain.Error, openAI.Error.Message)
			require.Equal(t, "id-1", openAI.RequestID)
		})
	}
}

func TestRefusalHeaders(t *testing.T) {
	tests := []struct {
		err    error
		header string
		want   string
	}{
		{errMethod, "Allow", "POST"},
		{errDraining, "Retry-After", "7"},
		{errMethod, "Retry-After", ""},
		{upstream.ErrBroken, "X-Should-Retry", "false"},
		{upstream.ErrTimeout, "X-Should-Retry", "false"},
		{errCutSent, "X-Should-Retry", "false"},
		{errCutSent, "X-Usher-Refusal", "upstream_broken"},
		{upstream.ErrUnreachable, "X-Should-Retry", ""},
		{reorder.ErrFull, "X-Should-Retry", ""},
		{errCut, "X-Should-Retry", ""},
		{replay.ErrReplayed, "X-Should-Retry", "false"},
		{envelope.ErrURLMismatch, "X-Should-Retry", "false"},
		{errRouteUnknown, "X-Should-Retry", ""},
		{errRouteUnknown, "X-Usher-Refusal", "route_unknown"},
	}
	for _, tt := range tests {
		r := refusalOf(tt.err)
		answer := r.answer(told{shape: dialect.Plain, requestID: "id-1", retryAfter: 7, final: r.final(), allowed: "POST"})
		fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(answer.Fields, "\r\n"...)))).ReadMIMEHeader()
		require.NoError(t, err)
		require.Equal(t, tt.want, fields.Get(tt.header), "%s on %v", tt.header, tt.err)
	}
}

func TestEveryFaultOfATicketIsNamed(t *testing.T) {
	r := refusalOf(&envelope.TicketError{Faults: []string{"cost is missing", "url is not a string"}})
	require.Equal(t, 422, r.status)
	require.Contains(t, r.message, "cost is missing")
	require.Contains(t, r.message, "url is not a string")
}

func TestUnforeseenIsInternal(t *testing.T) {
	r := refusalOf(errors.New("secret detail"))
	require.Equal(t, 500, r.status)
	require.NotContains(t, r.message, "secret")
}
