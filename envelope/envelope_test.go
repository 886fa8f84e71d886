package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
)

// aTicket has every member, each of them valid.
const aTicket = `"cost":256.0,"endpoint":"E","reqnum":1,"signature":"aGk=","url":"http://w"`

// The payload is what the client sent without the ticket, byte for byte, except
// for white space and a comma at the seams.
func TestPayload(t *testing.T) {
	tests := []struct{ name, body, payload string }{
		{"ticket first", `{` + aTicket + `,"inputs":"x","n":1e2}`, `{"inputs":"x","n":1e2}`},
		{"ticket last", `{"inputs":"x","n":1e2,` + aTicket + `}`, `{"inputs":"x","n":1e2}`},
		{"ticket between", `{"a":1,` + aTicket + `,"b":2}`, `{"a":1,"b":2}`},
		{"members mixed", `{"cost":256.0,"a":1,"endpoint":"E","b":2,"reqnum":1,"c":3,"signature":"aGk=","d":4,"url":"http://w","e":5}`, `{"a":1,"b":2,"c":3,"d":4,"e":5}`},
		{"a long one in the middle", `{"a":1,"cost":256.0,"b":"` + strings.Repeat("x", 99) + `","endpoint":"E","reqnum":1,"signature":"aGk=","url":"http://w","c":3}`, `{"a":1,"b":"` + strings.Repeat("x", 99) + `","c":3}`},
		{"spaces are kept inside", "{ \"a\" : [ 1 , 2 ] ,\n\t\"b\":\r\n{ } , " + aTicket + " }", "{ \"a\" : [ 1 , 2 ] ,\n\t\"b\":\r\n{ }}"},
		{"spaces around", " \n{" + aTicket + ", \"a\":1 } \t", `{"a":1 }`},
		{"nothing but the ticket", `{` + aTicket + `}`, `{}`},
		{"request_idx is cut, null too", `{` + aTicket + `,"request_idx":null,"a":1}`, `{"a":1}`},
		{"escaped names are the same members", strings.Replace(`{`+aTicket+`,"a":1}`, `"cost"`, `"c\u006fst"`, 1), `{"a":1}`},
		{"the model's duplicates and surrogates pass", `{` + aTicket + `,"x":{"a":1,"a":2,"b":"\ud800"},"\ud800":1,"\ud801":2}`, `{"x":{"a":1,"a":2,"b":"\ud800"},"\ud800":1,"\ud801":2}`},
		{"nested", `{"auth_data":{` + aTicket + `},"payload":{ "a" : 1 }}`, `{ "a" : 1 }`},
		{"nested, the other way round", `{"payload":{"a":1},"auth_data":{` + aTicket + `,"status":{"x":[]}},"session_id":7}`, `{"a":1}`},
		{"nested: the model's own members of these names", `{"auth_data":{` + aTicket + `},"payload":{"cost":1,"url":2,"auth_data":3},"cost":"x","url":[]}`, `{"cost":1,"url":2,"auth_data":3}`},
		{"nested: lone surrogates that nobody signed", `{"auth_data":{` + aTicket + `,"x":"\ud800"},"payload":{"a":"\udfff"},"y":"\ud800"}`, `{"a":"\udfff"}`},
		{"flat: payload alone is the model's", `{` + aTicket + `,"payload":{"a":1}}`, `{"payload":{"a":1}}`},
		{"512 deep", `{` + aTicket + `,"x":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`, `{"x":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`},
		{"brackets in strings are not depth", `{` + aTicket + `,"x":"` + strings.Repeat(`[\"`, 600) + `"}`, `{"x":"` + strings.Repeat(`[\"`, 600) + `"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, err := Parse([]byte(tt.body), Options{})
			require.NoError(t, err)
			require.Equal(t, tt.payload, string(env.Payload))
			require.Equal(t, "E", env.Ticket.Endpoint)
			require.Equal(t, "http://w", env.Ticket.URL)
			require.EqualValues(t, 1, env.Ticket.Reqnum)
			require.Equal(t, "256.0", env.Ticket.Cost.String())
			require.Equal(t, "hi", string(env.Ticket.Signature))
		})
	}
}

func TestInvalidJSON(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "blank": " \n", "not JSON": "hello", "array": "[1]", "string": `"x"`, "null": "null", "number": "1",
		"cut": `{"a":1`, "two objects": `{}{}`, "bytes after": `{} x`, "NUL after": "{}\x00", "BOM": "\ufeff{}",
		"comma at the end": `{"a":1,}`, "no colon": `{"a" 1}`, "single quotes": `{'a':1}`, "leading zero": `{"a":01}`, "NaN": `{"a":NaN}`,
		"control byte in a string": "{\"a\":\"\n\"}", "bad escape": `{"a":"\x"}`, "invalid UTF-8": "{\"a\":\"\xff\"}", "overlong UTF-8": "{\"a\":\"\xc0\x80\"}",
		"duplicate": `{"a":1,"a":2}`, "duplicate ticket member": `{"cost":1,"cost":1}`, "duplicate by escape": `{"a":1,"\u0061":2}`,
		"duplicate surrogates": `{"\ud800":1,"\ud800":2}`, "duplicate pair by escape": `{"😀":1,"\ud83d\ude00":2}`,
		"duplicate in auth_data": `{"auth_data":{"x":1,"x":2},"payload":{}}`, "duplicate auth_data": `{"auth_data":{},"auth_data":{},"payload":{}}`,
		"duplicate payload": `{"auth_data":{},"payload":{},"payload":{}}`,
		"513 deep":          `{"x":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`,
		"lone surrogate":    `{"cost":1,"endpoint":"\ud800","reqnum":1,"signature":"","url":""}`,
		"lone in cost":      `{"cost":"\udc00\ud800"}`, "lone in request_idx": `{"auth_data":{"request_idx":"\udc00"},"payload":1}`,
		"lone in url": `{"url":"a\udc00"}`, "lone in signature": `{"auth_data":{"signature":"\ud800"},"payload":{}}`,
	} {
		_, err := Parse([]byte(body), Options{})
		require.ErrorIs(t, err, ErrInvalidJSON, name)
		require.NotErrorIs(t, err, ErrInvalidTicket, name)
	}
}

func TestInvalidTicket(t *testing.T) {
	with := func(member, literal string) string {
		members := map[string]string{"cost": "1", "endpoint": `"E"`, "reqnum": "1", "signature": `"aGk="`, "url": `"u"`}
		members[member] = literal
		var parts []string
		for name, value := range members {
			if value != "" {
				parts = append(parts, fmt.Sprintf("%q:%s", name, value))
			}
		}
		return strings.Join(parts, ",")
	}
	for member, literals := range map[string][]string{
		"cost":        {"", "null", `"1"`, "-1", "1e999", "true", "{}", "[]"},
		"endpoint":    {"", "null", "1", "{}"},
		"reqnum":      {"", "null", `"1"`, "-1", "-0", "1.0", "14395.0", "1e3", "9223372036854775808", "true"},
		"signature":   {"", "null", "1", "[]"},
		"url":         {"", "null", "1"},
		"request_idx": {`"1"`, "1.0", "-0", "1e3", "true", "{}", strings.Repeat("9", 4301)},
	} {
		for _, literal := range literals {
			for form, body := range map[string]string{"flat": `{` + with(member, literal) + `}`, "nested": `{"auth_data":{` + with(member, literal) + `},"payload":{}}`} {
				_, err := Parse([]byte(body), Options{})
				var fault *TicketError
				require.ErrorAs(t, err, &fault, "%s %s: %s", form, member, literal)
				require.ErrorIs(t, err, ErrInvalidTicket)
				require.Len(t, fault.Faults, 1)
				require.Contains(t, fault.Faults[0], member)
			}
		}
	}
	for body, wants := range map[string][]string{
		`{}`:                                            {"cost", "endpoint", "reqnum", "signature", "url"},
		`{"auth_data":null,"payload":{}}`:               {"auth_data"},
		`{"auth_data":[],"payload":{}}`:                 {"auth_data"},
		`{"auth_data":{` + aTicket + `}}`:               {"payload is missing"},
		`{"auth_data":{` + aTicket + `},"payload":"x"}`: {"payload is not an object"},
		`{"auth_data":{},"payload":1,` + aTicket + `}`:  {"payload", "cost", "endpoint", "reqnum", "signature", "url"},
	} {
		_, err := Parse([]byte(body), Options{})
		require.ErrorIs(t, err, ErrInvalidTicket, body)
		for _, want := range wants {
			require.ErrorContains(t, err, want, body)
		}
	}
}

func TestTicketValues(t *testing.T) {
	parse := func(members string, opt Options) (Ticket, error) {
		env, err := Parse([]byte(`{`+members+`}`), opt)
		return env.Ticket, err
	}
	base := `"cost":1,"endpoint":"E","signature":"aGk=","url":"u"`
	for literal, want := range map[string]int64{"0": 0, "1": 1, "9223372036854775807": 1<<63 - 1} {
		got, err := parse(base+`,"reqnum":`+literal, Options{})
		require.NoError(t, err)
		require.Equal(t, want, got.Reqnum)
	}
	for members, want := range map[string]int64{"": -1, `,"reqnum":null`: -1, `,"reqnum":5`: 5} {
		got, err := parse(base+members, Options{ReqnumOptional: true})
		require.NoError(t, err)
		require.Equal(t, want, got.Reqnum)
	}
	_, err := parse(base+`,"reqnum":1.0`, Options{ReqnumOptional: true})
	require.ErrorIs(t, err, ErrInvalidTicket, "optional is not arbitrary")
	for literal, want := range map[string]string{"0": "0", "-5": "-5", "99999999999999999999": "99999999999999999999", "null": ""} {
		got, err := parse(base+`,"reqnum":1,"request_idx":`+literal, Options{})
		require.NoError(t, err)
		require.Equal(t, want, got.RequestIdx)
	}
	got, err := parse(`"cost":1,"endpoint":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é","signature":"aG\u006b=","url":"","reqnum":1`, Options{})
	require.NoError(t, err)
	require.Equal(t, "a\"\\/\b\f\n\r\té😀é", got.Endpoint)
	require.Equal(t, "hi", string(got.Signature))
	// A signature that is not base64 is not a fault of the ticket's form: it just
	// does not verify.
	for _, signature := range []string{"", "*", "aGk", "aGk=\\n", "aGl=", "aG_-", "aGk==", "=", " aGk="} {
		got, err := parse(`"cost":1,"endpoint":"E","url":"u","reqnum":1,"signature":"`+signature+`"`, Options{})
		require.NoError(t, err, signature)
		require.Nil(t, got.Signature, signature)
	}
}

// The ticket outlives the body, whose memory is reused.
func TestTicketDoesNotAliasTheBody(t *testing.T) {
	body := []byte(`{` + aTicket + `,"parameters":{"max_new_tokens":7}}`)
	env, err := Parse(body, Options{})
	require.NoError(t, err)
	for i := range body {
		body[i] = 'X'
	}
	require.Equal(t, "E", env.Ticket.Endpoint)
	require.Equal(t, "http://w", env.Ticket.URL)
	require.Equal(t, "hi", string(env.Ticket.Signature))
	require.Equal(t, "256.0", env.Ticket.Cost.String())
	work, err := env.Work(dialect.Of("/generate"), dialect.AnyEngine)
	require.NoError(t, err)
	require.EqualValues(t, 7, work.limit)
}

// Inputs that try to cost far more than their length.
func TestHostileInputsAreLinear(t *testing.T) {
	const n = 2 << 20
	for name, body := range map[string]string{
		"brackets":       strings.Repeat("[", n),
		"open objects":   strings.Repeat(`{"a":`, n/5),
		"many names":     `{` + manyNames(n/10) + `}`,
		"escaped quotes": `{"a":"` + strings.Repeat(`\"`, n/2) + `"}`,
		"deep and long":  `{"a":` + strings.Repeat("[", 500) + strings.Repeat("1,", n/2) + "1" + strings.Repeat("]", 500) + `}`,
		"long number":    `{"cost":` + strings.Repeat("9", n) + `}`,
		"long exponent":  `{"parameters":{"max_new_tokens":1e` + strings.Repeat("9", n) + `}}`,
		"escaped names":  `{"` + strings.Repeat(`\u0061`, n/6) + `":1}`,
	} {
		_, err := Parse([]byte(body), Options{})
		require.Error(t, err, name)
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":0,`, i)
	}
	return b.String() + `"z":0`
}

// An oracle with the standard library: members in their order, numbers as text.
func decodeObject(t require.TestingT, body []byte) (names []string, values []json.RawMessage) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	open, err := dec.Token()
	require.NoError(t, err)
	require.Equal(t, json.Delim('{'), open)
	for dec.More() {
		name, err := dec.Token()
		require.NoError(t, err)
		var value json.RawMessage
		require.NoError(t, dec.Decode(&value))
		names = append(names, name.(string))
		values = append(values, value)
	}
	_, err = dec.Token()
	require.NoError(t, err)
	_, err = dec.Token()
	require.ErrorIs(t, err, io.EOF)
	return names, values
}

// FuzzParse: whatever is accepted is valid JSON for the standard library too, and
// what is forwarded has the same members, without the ticket's, byte for byte.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{` + aTicket + `,"inputs":"x"}`, `{"auth_data":{` + aTicket + `},"payload":{"a":1}}`, ` { "a" : [1,{"b":null}] , ` + aTicket + ` } `,
		`{"a":1,"cost":1,"b":2,"endpoint":"","c":3,"reqnum":0,"d":"\ud83d\ude00","signature":"","e":1e-7,"url":"\u0000"}`, `{}`, ``, `[`, `{"a":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := bytes.Clone(body)
		env, err := Parse(body, Options{})
		if err != nil {
			require.True(t, errors.Is(err, ErrInvalidJSON) || errors.Is(err, ErrInvalidTicket), "%v", err)
			return
		}
		require.True(t, json.Valid(sent))
		require.True(t, json.Valid(env.Payload), "%q", env.Payload)
		names, values := decodeObject(t, sent)
		if env.Form == Nested {
			for i, name := range names {
				if name == "payload" {
					require.Equal(t, string(values[i]), string(env.Payload))
				}
			}
			return
		}
		gotNames, gotValues := decodeObject(t, env.Payload)
		kept := 0
		for i, name := range names {
			if ticketMember([]byte(name)) >= 0 {
				continue
			}
			require.Less(t, kept, len(gotNames))
			require.Equal(t, name, gotNames[kept])
			require.Equal(t, string(values[i]), string(gotValues[kept]), name)
			kept++
		}
		require.Len(t, gotNames, kept)
	})
}

func benchBody(size int, nested bool) string {
	text := strings.Repeat(`lorem ipsum dolor sit amet \n`, size/29)
	ticket := `"cost":256.0,"endpoint":"my-endpoint","reqnum":14395,"signature":"` + strings.Repeat("ab/+", 86) + `","url":"http://203.0.113.7:41234"`
	model := `"inputs":"` + text + `","parameters":{"max_new_tokens":256,"temperature":0.7}`
	if nested {
		return `{"auth_data":{` + ticket + `},"payload":{` + model + `}}`
	}
	return `{` + ticket + `,` + model + `}`
}

// A ticket costs at most 12 allocations, however long the prompt.
func TestAllocations(t *testing.T) {
	for _, nested := range []bool{false, true} {
		sent := []byte(benchBody(1200, nested))
		body := make([]byte, len(sent))
		got := testing.AllocsPerRun(200, func() {
			copy(body, sent)
			env, err := Parse(body, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := env.Work(dialect.Of("/generate"), dialect.AnyEngine); err != nil {
				t.Fatal(err)
			}
		})
		require.LessOrEqual(t, got, 12.0)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{2 << 10, 256 << 10, 1 << 20} {
		for form, nested := range map[string]bool{"flat": false, "nested": true} {
			b.Run(fmt.Sprintf("%s/%dKB", form, size>>10), func(b *testing.B) {
				sent := []byte(benchBody(size, nested))
				body := make([]byte, len(sent))
				b.SetBytes(int64(len(sent)))
				b.ReportAllocs()
				for b.Loop() {
					copy(body, sent) // parsing moves bytes
					if _, err := Parse(body, Options{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func cost(t testing.TB, literal string) crypto.Cost {
	t.Helper()
	c, err := crypto.ParseCost([]byte(literal))
	require.NoError(t, err)
	return c
}
