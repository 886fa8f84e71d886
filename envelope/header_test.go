package envelope

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
)

func inHeader(object string) []byte {
	return []byte(base64.RawURLEncoding.EncodeToString([]byte(object)))
}

func TestHeaderTicket(t *testing.T) {
	for value, token := range map[string]string{
		"SignedRoute abc": "abc", "signedroute abc": "abc", "SIGNEDROUTE   abc ": "abc", "SignedRoute": "", "SignedRoute ": "", "SignedRoute a b": "a b",
		"Bearer sr.abc": "abc", "bearer sr.abc": "abc", "BEARER  sr.": "", "Bearer sr.sr.": "sr.",
	} {
		got, ok := HeaderTicket([]byte(value))
		require.True(t, ok, value)
		require.Equal(t, token, string(got), value)
	}
	for _, value := range []string{
		"", "Bearer", "Bearer sk-1", "Bearer SR.abc", "Bearer xsr.abc", "Bearersr.abc", "Basic sr.abc", "SignedRoutes abc", "SignedRoute\tabc", "sr.abc",
		"ſignedRoute abc", "abc SignedRoute abc",
	} {
		_, ok := HeaderTicket([]byte(value))
		require.False(t, ok, value)
	}
}

func TestOpenHeader(t *testing.T) {
	object := `{` + aTicket + `,"request_idx":7,"other":[1],"auth_data":{"cost":1},"max_tokens":1,"max_toke\u006es":2}`
	for len(object)%3 != 1 {
		object += " " // so that it has padding
	}
	token := inHeader(object)
	for _, token := range [][]byte{token, []byte(base64.URLEncoding.EncodeToString([]byte(object)))} {
		var env Envelope
		err := env.OpenHeader(token, Options{})
		require.ErrorIs(t, err, ErrInvalidJSON, "max_tokens stands twice")
		object := strings.Replace(object, `"max_toke\u006es":2`, `"x":{"a":1,"a":2} `, 1)
		require.NoError(t, env.OpenHeader(inHeader(object), Options{}))
		require.Equal(t, InHead, env.Form)
		require.Equal(t, "in the head", env.Form.String())
		require.Equal(t, "E", env.Ticket.Endpoint)
		require.EqualValues(t, 1, env.Ticket.Reqnum)
		require.Equal(t, "7", env.Ticket.RequestIdx)
		require.Equal(t, "256.0", env.Ticket.Cost.String())
		require.Empty(t, env.Payload)
	}
	good := `{` + aTicket + `}`
	for len(good)%3 != 1 {
		good += " "
	}
	var env Envelope
	require.NoError(t, env.OpenHeader([]byte(base64.URLEncoding.EncodeToString([]byte(good))), Options{}), "padding is optional")
	long := func(n int) string { return strings.Repeat(" ", n*3/4-len(good)) + good }
	require.NoError(t, env.OpenHeader(inHeader(long(MaxHeader)), Options{}), "8192 bytes")
	plain := string(inHeader(good))
	for name, token := range map[string]string{
		"8193 bytes": string(inHeader(long(MaxHeader))) + "A", "empty": "", "standard alphabet": string(inHeader(`{"a":"`+"\u07ff\u07ff?>"+`"}`)) + "+/",
		"line end": plain[:4] + "\n" + plain[4:], "blank": plain[:4] + " " + plain[4:], "half padded": plain + "=", "too much padding": plain + "===",
		"bits in the padding": plain[:len(plain)-1] + "h", "one character": plain + "A", "a second object": string(inHeader(good + good)), "array": string(inHeader("[]")),
		"twice": string(inHeader(`{"cost":1,` + aTicket + `}`)), "not UTF-8": string(inHeader("{\"a\":\"\xff\"}")), "surrogate": string(inHeader(strings.Replace(good, `"E"`, `"\ud800"`, 1))),
		"too deep": string(inHeader(`{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`)),
	} {
		err := env.OpenHeader([]byte(token), Options{})
		require.ErrorIs(t, err, ErrInvalidHeader, name)
		require.ErrorIs(t, err, ErrInvalidJSON, name)
		require.Empty(t, env.Ticket, name)
		require.NotContains(t, err.Error(), "203", name)
	}
	var faults *TicketError
	require.ErrorAs(t, env.OpenHeader(inHeader(`{"cost":-1,"reqnum":1.0,"url":"u","signature":"aGk="}`), Options{}), &faults)
	require.Len(t, faults.Faults, 3, "all of them")
}

// With a ticket in the head the whole body is the model's own, including members
// with the names of a ticket's.
func TestTakeBody(t *testing.T) {
	api := dialect.Of("/v1/completions")
	var env Envelope
	require.NoError(t, env.OpenHeader(inHeader(`{`+aTicket+`}`), Options{}))
	body := `{"auth_data":{"cost":1,"cost":2},"payload":{"max_tokens":9},"cost":"x","max_tokens":100,"n":2}`
	require.NoError(t, env.TakeBody([]byte(body)))
	require.Equal(t, body, string(env.Payload))
	work, err := env.Work(api, dialect.AnyEngine)
	require.NoError(t, err)
	require.True(t, work.Exceeds(cost(t, "199")))
	require.False(t, work.Exceeds(cost(t, "200")))

	require.NoError(t, env.TakeBody([]byte(` {"prompt" : "x"}`)))
	payload, ok := env.WithLimit(api, dialect.AnyEngine, cost(t, "7"))
	require.True(t, ok)
	require.Equal(t, ` {"max_tokens":7,"prompt" : "x"}`, string(payload))

	for _, body := range []string{"", "[]", "--boundary", `{"a":1,"a":2}`, `{}x`, "\xff"} {
		require.ErrorIs(t, env.TakeBody([]byte(body)), ErrInvalidJSON, body)
		require.Equal(t, body, string(env.Payload), "it is the payload all the same")
		work, err := env.Work(api, dialect.AnyEngine)
		require.NoError(t, err)
		require.False(t, work.Stated)
	}
}

// verdict is how parsing a ticket ended, without saying where the ticket was.
func verdict(env *Envelope, err error) string {
	var faults *TicketError
	switch {
	case errors.As(err, &faults):
		return fmt.Sprint(faults.Faults)
	case err != nil:
		return "invalid JSON"
	}
	return fmt.Sprintf("%+v %q", env.Ticket, env.Ticket.Signature)
}

// FuzzOpenHeader: a ticket in the head gets the same verdict as the same object in
// a body, and no input crashes it.
func FuzzOpenHeader(f *testing.F) {
	for _, seed := range []string{
		`{` + aTicket + `}`, ` {"request_idx":7,` + aTicket + `} `, `{` + aTicket + `,"x":{"y":[1,{}]},"auth_data":1,"payload":null}`, `{"cost":1e999}`,
		`{"cost":1,"cost":1}`, `{` + aTicket + `}{}`, `{"url":"\ud800"}`, `{"reqnum":null}`, `[]`, ``, `{"signature":"` + "\n" + `"}`, `{"a":` + strings.Repeat("[", 510) + strings.Repeat("]", 510) + `}`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, object []byte, optional bool) {
		opt := Options{ReqnumOptional: optional}
		var inHead, inBody, raw Envelope
		require.NotPanics(t, func() { _ = raw.OpenHeader(object, opt) })
		err := inHead.OpenHeader(inHeader(string(object)), opt)
		if len(object) > MaxHeader*3/4 {
			require.ErrorIs(t, err, ErrInvalidHeader)
			return
		}
		if !json.Valid(object) { // it could end the body's object in the middle
			require.ErrorIs(t, err, ErrInvalidJSON)
			return
		}
		bodyErr := inBody.Open([]byte(`{"payload":{},"auth_data":`+string(object)+`}`), opt)
		if bodyErr != nil && strings.Contains(bodyErr.Error(), "nested deeper") || strings.Contains(fmt.Sprint(bodyErr), "auth_data is not an object") {
			require.True(t, err == nil || errors.Is(err, ErrInvalidJSON) || errors.Is(err, ErrInvalidTicket)) // in a body it is one deeper, and may be no object
			return
		}
		require.Equal(t, verdict(&inBody, bodyErr), verdict(&inHead, err))
	})
}
