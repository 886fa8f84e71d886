package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// For bodies of every kind: which are refused and with what code, and what the model
// server gets, byte for byte.
func TestBodies(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_REORDER_HOLD": "0"})).Ready()
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct {
		name, body string // TICKET, COST, … stand for a fresh ticket's members
		status     int
		want       string // the code, or what is forwarded
	}{
		{"flat, ticket first", `{TICKET,"inputs":"a"}`, 200, `{"inputs":"a"}`},
		{"flat, ticket last", `{"inputs":"a" , TICKET}`, 200, `{"inputs":"a"}`},
		{"flat, ticket alone", "\n{ TICKET }\r\n", 200, `{}`},
		{"flat, scattered", `{"cost":COST,"a":1e2,"endpoint":ENDPOINT, "b" : {"x": 1.0,"x":2} ,"reqnum":REQNUM,"signature":SIGNATURE,"c":-0,"url":URL,"d":"\u00e9é"}`, 200, `{"a":1e2,"b" : {"x": 1.0,"x":2},"c":-0,"d":"\u00e9é"}`},
		{"flat, escaped ticket names", `{"\u0063ost":COST,"end\u0070oint":ENDPOINT,"reqnum":REQNUM,"signatur\u0065":SIGNATURE,"\u0075rl":URL,"x":"\/"}`, 200, `{"x":"\/"}`},
		{"flat, escaped values", `{"cost":COST,"endpoint":"my\u002dllama","reqnum":REQNUM,"signature":SIGNATURE,"url":"http:\/\/203.0.113.7:3000","x":1}`, 200, `{"x":1}`},
		{"flat, request_idx nobody signed", `{TICKET,"request_idx":-7,"x":1}`, 200, `{"x":1}`},
		{"flat, request_idx of null", `{TICKET,"request_idx":null,"x":1}`, 200, `{"x":1}`},
		{"flat, request_idx a float", `{TICKET,"request_idx":1.0}`, 422, "invalid_ticket"},
		{"flat, request_idx -0", `{TICKET,"request_idx":-0}`, 422, "invalid_ticket"},
		{"flat, a payload of the model's", `{TICKET,"payload":[1]}`, 200, `{"payload":[1]}`},
		{"flat, names that differ in case", `{TICKET,"Cost":1,"URL":2,"reqNum":3}`, 200, `{"Cost":1,"URL":2,"reqNum":3}`},
		{"flat, numbers without bounds", `{TICKET,"x":[1e999,-1E-999,123456789012345678901234567890.10]}`, 200, `{"x":[1e999,-1E-999,123456789012345678901234567890.10]}`},
		{"flat, odd characters", `{TICKET,"x":"` + "\x7f\u2028\ufffe\U0010ffff" + `\ud800\u0000"}`, 200, `{"x":"` + "\x7f\u2028\ufffe\U0010ffff" + `\ud800\u0000"}`},
		{"nested", `{"auth_data":{TICKET},"payload": {"a" : [ ] } }`, 200, `{"a" : [ ] }`},
		{"nested, the answer whole", `{"session_id":"s","payload":{},"auth_data":{"status":{"a":{"a":1,"a":2}},TICKET,"__request_id":"x"},"x":null}`, 200, `{}`},
		{"nested, a flat ticket beside it", `{"auth_data":{TICKET},"cost":1,"url":"x","signature":5,"payload":{"cost":1,"reqnum":"x"}}`, 200, `{"cost":1,"reqnum":"x"}`},
		{"nested, escaped names", `{"auth\u005fdata":{TICKET},"p\u0061yload":{"a":1}}`, 200, `{"a":1}`},
		{"nested, duplicates of the model's own", `{"auth_data":{TICKET},"payload":{"inputs":1,"inputs":2,"parameters":{"seed":1,"seed":2}}}`, 200, `{"inputs":1,"inputs":2,"parameters":{"seed":1,"seed":2}}`},
		{"nested, 512 deep", `{"auth_data":{TICKET},"payload":{"x":` + deep(510) + `}}`, 200, `{"x":` + deep(510) + `}`},
		{"nested, 513 deep", `{"auth_data":{TICKET},"payload":{"x":` + deep(511) + `}}`, 400, "invalid_json"},
		{"513 deep where nobody looks", `{"auth_data":{TICKET,"x":` + deep(511) + `},"payload":{}}`, 400, "invalid_json"},
		{"flat, 512 deep", `{TICKET,"x":` + deep(511) + `}`, 200, `{"x":` + deep(511) + `}`},
		{"nested, duplicate in auth_data", `{"auth_data":{TICKET,"x":1,"\u0078":2},"payload":{}}`, 400, "invalid_json"},
		{"nested, duplicate beside it", `{"auth_data":{TICKET},"payload":{},"x":1,"x":1}`, 400, "invalid_json"},
		{"nested, auth_data twice", `{"auth_data":{TICKET},"payload":{},"auth\u005fdata":{}}`, 400, "invalid_json"},
		{"nested, limit twice", `{"auth_data":{TICKET},"payload":{"parameters":{"max_new_tokens":1,"max_new\u005ftokens":1}}}`, 400, "invalid_json"},
		{"nested, parameters twice", `{"auth_data":{TICKET},"payload":{"parameters":{},"parameters":{}}}`, 400, "invalid_json"},
		{"nested, auth_data null", `{"auth_data":null,"payload":{},TICKET}`, 422, "invalid_ticket"},
		{"nested, auth_data a list", `{"auth_data":[{TICKET}],"payload":{}}`, 422, "invalid_ticket"},
		{"nested, payload null", `{"auth_data":{TICKET},"payload":null}`, 422, "invalid_ticket"},
		{"nested, payload a list", `{"auth_data":{TICKET},"payload":[]}`, 422, "invalid_ticket"},
		{"nested, no payload but a flat one", `{"auth_data":{TICKET},"inputs":"a"}`, 422, "invalid_ticket"},
		{"BOM", "\ufeff" + `{TICKET}`, 400, "invalid_json"},
		{"UTF-16", "{\x00}\x00", 400, "invalid_json"},
		{"NUL after it", `{TICKET}` + "\x00", 400, "invalid_json"},
		{"a comment", `{TICKET/**/}`, 400, "invalid_json"},
		{"NaN", `{TICKET,"x":NaN}`, 400, "invalid_json"},
		{"invalid UTF-8 where nobody looks", `{"auth_data":{TICKET,"x":"` + "\xc3\x28" + `"},"payload":{}}`, 400, "invalid_json"},
		{"a surrogate in UTF-8", `{TICKET,"x":"` + "\xed\xa0\x80" + `"}`, 400, "invalid_json"},
		{"a lone surrogate in endpoint", `{"cost":COST,"endpoint":"\udfff","reqnum":REQNUM,"signature":SIGNATURE,"url":URL}`, 400, "invalid_json"},
		{"a lone surrogate in what is no number", `{"cost":"\ud800","endpoint":1}`, 400, "invalid_json"},
		{"a surrogate pair the wrong way round", `{"url":"\ude00\ud83d"}`, 400, "invalid_json"},
		{"a lone surrogate in other members of auth_data", `{"auth_data":{TICKET,"x":"\ud800","\ud800":1},"payload":{}}`, 200, `{}`},
		{"reqnum 1e3", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":1e3,"signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"reqnum 2^63", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":9223372036854775808,"signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"reqnum 2^63-1", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":9223372036854775807,"signature":SIGNATURE,"url":URL}`, 401, "bad_signature"},
		{"reqnum 007", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":007,"signature":SIGNATURE,"url":URL}`, 400, "invalid_json"},
		{"reqnum null", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":null,"signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"reqnum a string", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":"1","signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"cost 1e400", `{"cost":1e400,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"cost an integer beyond all floats", `{"cost":1` + strings.Repeat("0", 309) + `,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"cost true", `{"cost":true,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":URL}`, 422, "invalid_ticket"},
		{"cost in another spelling", `{"cost":2.560e2,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":URL}`, 200, `{}`},
		{"url in another spelling", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":"HTTP://203.0.113.7:3000/"}`, 401, "bad_signature"},
		{"url with a path", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":"http://203.0.113.7:3000/generate"}`, 403, "url_mismatch"},
		{"url empty", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":SIGNATURE,"url":""}`, 403, "url_mismatch"},
		{"signature null", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":null,"url":URL}`, 422, "invalid_ticket"},
		{"signature of one byte", `{"cost":COST,"endpoint":ENDPOINT,"reqnum":REQNUM,"signature":"AA==","url":URL}`, 401, "bad_signature"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tk := s.Ticket()
			body := strings.NewReplacer("TICKET", tk.Members(), "COST", tk["cost"], "ENDPOINT", tk["endpoint"],
				"REQNUM", tk["reqnum"], "SIGNATURE", tk["signature"], "URL", tk["url"]).Replace(tt.body)
			if strings.Contains(tt.body, `"URL":2`) { // not the placeholder
				body = "{" + tk.Members() + tt.body[len("{TICKET"):]
			}
			before := len(m.Arrivals())
			got := u.Post("/generate", []byte(body))
			require.Equal(t, tt.status, got.Status, got.Body)
			if tt.status != 200 {
				require.Equal(t, tt.want, got.Code(), got.Body)
				require.Len(t, m.Arrivals(), before)
				return
			}
			require.Equal(t, tt.want, m.Arrivals()[before].Body)
		})
	}
}

// A signature has one spelling: standard base64 with its padding, nothing else.
func TestSpellingsOfASignature(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_REORDER_HOLD": "0"}))
	for name, respell := range map[string]func(string) string{
		"without padding":  func(b string) string { return strings.TrimRight(b, "=") },
		"more padding":     func(b string) string { return b + "=" },
		"URL-safe":         func(b string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(b) + "-" },
		"space before":     func(b string) string { return " " + b },
		"line break":       func(b string) string { return b[:76] + `\n` + b[76:] },
		"carriage return":  func(b string) string { return b[:76] + `\r\n` + b[76:] },
		"tab":              func(b string) string { return b + `\t` },
		"twice":            func(b string) string { return b + b },
		"first byte alone": func(b string) string { return b[:4] },
		"empty":            func(string) string { return "" },
		"hex":              func(string) string { return strings.Repeat("0f", 256) },
	} {
		tk := s.Ticket()
		signature := strings.Trim(tk["signature"], `"`)
		got := u.Post("/generate", tk.With("signature", `"`+respell(signature)+`"`).Flat(""))
		require.Equal(t, "401 bad_signature", fmt.Sprint(got.Status, " ", got.Code()), name)
		require.NotContains(t, got.Body, signature[:20], name)
		require.Equal(t, 200, u.Post("/generate", tk.Flat("")).Status, "%s: the ticket itself is still good", name)
	}
}
