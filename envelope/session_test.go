package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSessionOfABody(t *testing.T) {
	for body, want := range map[string]string{
		`{"auth_data":{` + aTicket + `},"session_id":"abc","payload":{}}`:           "abc",
		`{"auth_data":{` + aTicket + `},"payload":{},"session_id":"a\u0062c"}`:      "abc",
		`{"auth_data":{` + aTicket + `},"session_id":17,"payload":{}}`:              "17",
		`{"auth_data":{` + aTicket + `},"session_id":"","payload":{}}`:              "",
		`{"auth_data":{` + aTicket + `},"session_id":"\ud800","payload":{}}`:        `"\ud800"`,
		`{"auth_data":{` + aTicket + `},"session_id": [1] ,"payload":{}}`:           "[1]",
		`{"auth_data":{` + aTicket + `},"session\u005fid":"abc","payload":{"a":1}}`: "abc",
	} {
		env, err := Parse([]byte(body), Options{})
		require.NoError(t, err, body)
		require.NotNil(t, env.Session, body)
		require.Equal(t, want, string(env.Session), body)
	}
	for _, body := range []string{
		`{"auth_data":{` + aTicket + `},"payload":{"session_id":"abc"}}`, `{"auth_data":{` + aTicket + `,"session_id":"abc"},"payload":{}}`,
		`{"auth_data":{` + aTicket + `},"session_id":null,"payload":{}}`, `{` + aTicket + `,"session_id":"abc"}`,
	} {
		env, err := Parse([]byte(body), Options{})
		require.NoError(t, err, body)
		require.Nil(t, env.Session, body)
	}
	flat, err := Parse([]byte(`{`+aTicket+`,"session_id":"abc"}`), Options{})
	require.NoError(t, err)
	require.Equal(t, `{"session_id":"abc"}`, string(flat.Payload), "a member of the model's own")
	_, err = Parse([]byte(`{"auth_data":{`+aTicket+`},"session_id":"a","session_id":"b","payload":{}}`), Options{})
	require.ErrorIs(t, err, ErrInvalidJSON)
}

func TestCreationDefaults(t *testing.T) {
	var c Creation
	body := `{"payload": {"on_close_route" : "\/a", "on_close_payload": {"x": [1e2]}}, "auth_data": { ` + aTicket + ` }, "session_id": null}`
	require.NoError(t, c.Open([]byte(body), Options{}))
	require.Equal(t, time.Minute, c.Lifetime)
	require.Equal(t, "/a", c.OnCloseRoute)
	require.Equal(t, `{"x": [1e2]}`, string(c.OnClosePayload))
	require.Equal(t, `{ `+aTicket+` }`, string(c.AuthData))
	require.NoError(t, c.Open([]byte(`{"auth_data":{`+aTicket+`},"payload":{"lifetime":1.5}}`), Options{}))
	require.Equal(t, 1500*time.Millisecond, c.Lifetime)
	require.Nil(t, c.OnClosePayload)
	require.ErrorIs(t, c.Open([]byte(`{"auth_data":{`+aTicket+`},"payload":{"on_close_route":"\ud800"}}`), Options{}), ErrInvalidTicket)
}

// The terms of a session are what encoding/json finds there.
func FuzzCreation(f *testing.F) {
	for _, seed := range []string{
		`{"auth_data":{` + aTicket + `},"payload":{"lifetime":60.0,"on_close_route":"/a","on_close_payload":{"b":null}}}`,
		`{"payload":{"lifetime":null},"auth_data":{` + aTicket + `}}`, `{"auth_data":{},"payload":[]}`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := bytes.Clone(body)
		var c Creation
		if err := c.Open(body, Options{}); err != nil {
			require.True(t, errors.Is(err, ErrInvalidJSON) || errors.Is(err, ErrInvalidTicket), "%v", err)
			return
		}
		require.Equal(t, sent, body, "nothing is moved")
		env, err := Parse(body, Options{})
		require.NoError(t, err)
		require.Equal(t, env.Ticket, c.Ticket)
		require.Equal(t, Nested, env.Form)
		require.True(t, json.Valid(c.AuthData))
		require.GreaterOrEqual(t, c.Lifetime, MinLifetime)
		require.LessOrEqual(t, c.Lifetime, MaxLifetime)
		names, values := decodeObject(t, env.Payload)
		for i, name := range names {
			null := string(values[i]) == "null"
			switch name {
			case "lifetime":
				var seconds float64
				require.True(t, null || json.Unmarshal(values[i], &seconds) == nil)
				require.True(t, null || c.Lifetime == time.Duration(seconds*1e9))
			case "on_close_route":
				var route string
				require.NoError(t, json.Unmarshal(values[i], &route))
				require.Equal(t, route, c.OnCloseRoute)
			case "on_close_payload":
				require.True(t, null && c.OnClosePayload == nil || string(values[i]) == string(c.OnClosePayload))
			}
		}
	})
}

// A claim fails only for invalid JSON, and accepts the same tickets as a request.
func FuzzClaim(f *testing.F) {
	for _, seed := range []string{
		`{"session_id":"abc","session_auth":{` + aTicket + `}}`, `{"session_auth":null,"session_id":"\u00e9"}`, `{"session_id":1}`, `{"session_id":"a","session_auth":{"cost":-1}} `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c Claim
		if err := c.Open(body); err != nil {
			require.ErrorIs(t, err, ErrInvalidJSON)
			return
		}
		names, values := decodeObject(t, body)
		for i, name := range names {
			switch name {
			case "session_id":
				var id string // anything else matches no session
				if json.Unmarshal(values[i], &id) != nil {
					id = ""
				}
				require.Equal(t, id, string(c.ID))
			case "session_auth":
				env, err := Parse([]byte(`{"auth_data":`+string(values[i])+`,"payload":{}}`), Options{ReqnumOptional: true})
				require.Equal(t, err == nil, c.Ticket.Cost.String() != "", "%v", err)
				require.True(t, err != nil || env.Ticket.URL == c.Ticket.URL)
			}
		}
	})
}
